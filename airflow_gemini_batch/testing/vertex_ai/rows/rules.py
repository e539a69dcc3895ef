"""What the service says about a request that is a message of the API and yet can't be answered.

Required fields and limits are those of the API's own description. The rest is what the service was seen to answer, in
reports of its users; what nobody has seen refused is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_gemini_batch.testing.vertex_ai.wire.labels import label_error
from airflow_gemini_batch.testing.vertex_ai.wire.messages import Message, message
from airflow_gemini_batch.testing.vertex_ai.wire.proto_json import missing

_Errors = Iterator[str]

# https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference#generationconfig
_LIMITS = {"topP": (0, 1), "candidateCount": (1, 8), "logprobs": (1, 20)}
_MOST_STOP_SEQUENCES = 5
_SEARCH = ("googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "retrieval")
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_FILE_URI = re.compile(r"(gs|https?)://.+", re.DOTALL)
_OLDER = re.compile(r"gemini-[12]\.")


def generation_errors(request: Mapping[str, Any], model: str) -> _Errors:
    """Say what is wrong with a GenerateContentRequest, once it is read; the first thing is what the service answers.

    :param model: the model's short name.
    """
    if not request.get("contents"):
        yield "Unable to submit request because at least one contents field is required."
    for position, content in enumerate(request.get("contents", [])):
        # Without a role it is the user's.
        if content.get("role", "user") not in ("user", "model"):
            yield "Please use a valid role: user, model."
        yield from _parts(content, f"contents[{position}]")
    if "systemInstruction" in request:
        yield from _parts(request["systemInstruction"], "system_instruction")
    for path in missing(request, message("GenerateContentRequest")):
        yield f"Unable to submit request because {path} is required."
    yield from _limits(request, message("GenerateContentRequest"))
    yield from _generation_config(request.get("generationConfig", {}))
    yield from _tools(request, model)
    if "modelArmorConfig" in request and request.get("safetySettings"):
        yield "safety_settings must not be set together with model_armor_config."
    if error := label_error(request.get("labels", {}), longest=63):
        yield error
    if "cachedContent" in request:
        yield "Explicit context caching is not supported in batch prediction."


def _parts(content: Mapping[str, Any], at: str) -> _Errors:
    if not content.get("parts"):
        yield f"Unable to submit request because it must include at least one parts field: {at}."
    for position, part in enumerate(content.get("parts", [])):
        place = f"{at}.parts[{position}]"
        if not part.keys() & set(message("Part").one_of):
            yield f"{place}.data: required oneof field 'data' must have one initialized field"
        elif part.get("text") == "":
            yield f"Unable to submit request because it has an empty text parameter: {place}."
        uri = part.get("fileData", {}).get("fileUri", "")
        if uri and not _FILE_URI.fullmatch(uri):
            yield f"Invalid file URI at {place}: '{uri}'. Use gs:// or https://."


def _limits(value: Mapping[str, Any], of: Message) -> _Errors:
    for name, field in of:
        inner = value.get(name)
        if inner is None:
            continue
        limits = field.limits or (_LIMITS.get(name) if of.name == "GenerationConfig" else None)
        if limits and not limits[0] <= float(inner) <= limits[1]:
            yield (
                f"Unable to submit request because it has a {name} value of {inner} but the supported range is from "
                f"{limits[0]:g} (inclusive) to {limits[1]:g} (inclusive). Update the value and try again."
            )
        if field.message:
            for item in (
                inner if field.shape == "list" else [inner] if field.shape == "one" else inner.values()
            ):
                yield from _limits(item, field.message)


def _generation_config(config: Mapping[str, Any]) -> _Errors:
    if int(config.get("maxOutputTokens", 1)) < 1:
        yield (
            f"Unable to submit request because it has a maxOutputTokens value of {config['maxOutputTokens']} but the "
            "supported range starts at 1 (inclusive). Update the value and try again."
        )
    if len(config.get("stopSequences", [])) > _MOST_STOP_SEQUENCES:
        yield f"Unable to submit request because it has more than {_MOST_STOP_SEQUENCES} stopSequences."
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if len(schemas) > 1:
        yield "Only one of response_schema and response_json_schema may be set."
    form = config.get("responseMimeType", "text/plain")
    if form not in ("text/plain", "application/json", "text/x.enum"):
        yield (
            f"Unable to submit request because it has a responseMimeType of {form}. Supported values are text/plain, "
            "application/json, text/x.enum."
        )
    elif schemas and form == "text/plain":
        yield (
            "Unable to submit request because controlled generation needs a responseMimeType of application/json or "
            "text/x.enum."
        )
    if "responseSchema" in config:
        yield from _schema(config["responseSchema"], "generation_config.response_schema")


def _schema(schema: Mapping[str, Any], at: str) -> _Errors:
    kind = schema.get("type")
    if not kind and not schema.keys() & {"anyOf", "enum", "ref"}:
        yield f"{at}.type: must be specified"
    if kind == "OBJECT" and not schema.get("properties") and "additionalProperties" not in schema:
        yield f"{at}.properties: should be non-empty for OBJECT type"
    if kind == "ARRAY" and "items" not in schema:
        yield f"{at}.items: missing field"
    for name in schema.get("required", []):
        if name not in schema.get("properties", {}):
            yield f"{at}.required: property '{name}' is not defined"
    if "" in schema.get("enum", ()):
        yield f"{at}.enum[{schema['enum'].index('')}]: cannot be empty"
    if "items" in schema:
        yield from _schema(schema["items"], f"{at}.items")
    for position, inner in enumerate(schema.get("anyOf", [])):
        yield from _schema(inner, f"{at}.any_of[{position}]")
    for group in ("properties", "defs"):
        for name, inner in schema.get(group, {}).items():
            yield from _schema(inner, f"{at}.{group}[{name}]")


def _tools(request: Mapping[str, Any], model: str) -> _Errors:
    tools = request.get("tools", [])
    for position, tool in enumerate(tools):
        if not tool:
            yield f"tools[{position}].tool_type: required one_of 'tool_type' must have one initialized field"
        for number, function in enumerate(tool.get("functionDeclarations", [])):
            yield from _function(function, f"tools[{position}].function_declarations[{number}]")
        if "googleSearchRetrieval" in tool and not model.startswith("gemini-1."):
            yield "google_search_retrieval is not supported. Please use google_search field instead."
    if not _OLDER.match(model):
        return
    used = {name for tool in tools for name in tool}
    if "functionDeclarations" in used and used.intersection(_SEARCH):
        yield "Multiple tools are supported only when they are all search tools."
    config = request.get("generationConfig", {})
    if "googleSearch" in used and {"responseSchema", "responseJsonSchema"} & config.keys():
        yield "Unable to submit request because controlled generation is not supported with google_search tool."


def _function(function: Mapping[str, Any], at: str) -> _Errors:
    if not _FUNCTION_NAME.fullmatch(function.get("name", "")):
        yield f"{at}.name: '{function.get('name', '')}' is not the name of a function"
    if "parameters" in function:
        if function["parameters"].get("type") != "OBJECT":
            yield f"{at}.parameters: the schema of parameters should be of type OBJECT"
        elif function["parameters"].get("properties"):
            yield from _schema(function["parameters"], f"{at}.parameters")


def embedding_errors(request: Mapping[str, Any], model: str) -> _Errors:
    """Say what is wrong with an EmbedContentRequest in the nested form, once it is read.

    :param model: the model's short name; gemini-embedding-001 embeds texts only.
    """
    parts = request.get("content", {}).get("parts", [])
    texts = [part for part in parts if "text" in part]
    if len(texts) < len(parts) and model == "gemini-embedding-001":
        yield "Only text parts can be embedded."
    elif not parts or not (len(texts) < len(parts) or any(part["text"].strip() for part in texts)):
        yield "The content is empty: at least one part with text is required."
    yield from _task(request.get("embedContentConfig", {}), "taskType")


def text_embedding_errors(instance: Mapping[str, Any]) -> _Errors:
    """Say what is wrong with ``{"content", "task_type", "title"}``."""
    content = instance.get("content")
    if not isinstance(content, str) or not content.strip():
        yield "The text content is empty."
    yield from _task(instance, "task_type")


def _task(config: Mapping[str, Any], name: str) -> _Errors:
    task = config.get(name)
    known = message("EmbedContentRequestEmbedContentConfig").fields["taskType"].values
    if task is not None and (task not in known or task == "UNSPECIFIED"):
        yield f"Unsupported task type {task!r}. Use one of {', '.join(sorted(known - {'UNSPECIFIED'}))}."
    if config.get("title") and task != "RETRIEVAL_DOCUMENT":
        yield "A title is only valid with the task type RETRIEVAL_DOCUMENT."
