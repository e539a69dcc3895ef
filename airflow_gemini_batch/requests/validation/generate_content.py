"""The rules of a GenerateContentRequest in a batch: what the service rejects, and what this release is unsure of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from airflow_gemini_batch.requests.validation.combinations import combinations
from airflow_gemini_batch.requests.validation.fields import PART_DATA, PART_NOTES
from airflow_gemini_batch.requests.validation.labels import label_fault
from airflow_gemini_batch.requests.validation.proto_json import snake_case

_ROLES = ("user", "model")
_MIME_TYPES = ("text/plain", "application/json", "text/x.enum")
# Lowest and highest value, both allowed.
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "topK": (1, inf),
    "candidateCount": (1, inf),
    "maxOutputTokens": (1, inf),
    "presencePenalty": (-2, 2),
    "frequencyPenalty": (-2, 2),
    "logprobs": (0, inf),
}
# The most that a model of today takes; one of tomorrow may take more.
_MOST_OF_TODAY: dict[str, float] = {
    "topK": 1000,
    "candidateCount": 8,
    "maxOutputTokens": 65_536,
    "logprobs": 20,
    "stopSequences": 5,
}
# What controlled generation understands of JSON Schema.
_KEYWORDS_TEXT = (
    "type format title description nullable default example examples const enum "
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern "
    "items prefixItems minItems maxItems uniqueItems "
    "properties required additionalProperties propertyOrdering minProperties maxProperties "
    "anyOf oneOf $id $anchor $ref $defs ref defs"
)
_KEYWORDS = frozenset(_KEYWORDS_TEXT.split())
_OBJECTS = {"properties", "$defs", "defs"}
_LISTS = {"anyOf", "oneOf", "prefixItems", "required", "enum"}
_DEEPEST = 32

_Faults = Iterator[str]


def generation_faults(request: dict[str, Any], model: str = "") -> Iterator[str]:
    """Hold a GenerateContentRequest, once it is read, against the rules; yields why the service rejects it.

    :param model: plain or resource name; empty when it is not known.
    """
    yield from _contents(request)
    if "systemInstruction" in request:
        yield from _parts(request["systemInstruction"], "system_instruction")
    yield from _generation_config(request)
    yield from _tools(request)
    yield from _safety_settings(request)
    if fault := label_fault(request.get("labels", {}), longest=63):
        yield fault
    if "cachedContent" in request:
        yield "Explicit context caching (cachedContent) is not supported in batch prediction."
    yield from (found.message for found in combinations(request, model) if found.fails)


def generation_doubts(request: dict[str, Any], model: str = "") -> Iterator[str]:
    """Yield what may be wrong with a GenerateContentRequest, once it is read: nobody here can know.

    :param model: as for :func:`generation_faults`.
    """
    config = request.get("generationConfig", {})
    for name, most in _MOST_OF_TODAY.items():
        value = config.get(name)
        amount = len(value) if isinstance(value, list) else float(value or 0)
        if amount > most:
            yield f"{name} is {amount:g}, and {most:,} is the most that this release knows of"
    if (mime_type := config.get("responseMimeType", _MIME_TYPES[0])) not in _MIME_TYPES:
        yield f"responseMimeType is {mime_type}, and this release knows {', '.join(_MIME_TYPES)}"
    for name in ("responseSchema", "responseJsonSchema"):
        yield from _schema_doubts(config.get(name), f"generation_config.{snake_case(name)}")
    yield from (found.message for found in combinations(request, model) if not found.fails)


def _contents(request: dict[str, Any]) -> _Faults:
    contents = request.get("contents")
    if not contents:
        yield "Unable to submit request because at least one contents field is required."
        return
    for position, content in enumerate(contents):
        if content.get("role") not in _ROLES:
            yield f"Please use a valid role: {', '.join(_ROLES)}."
        yield from _parts(content, f"contents[{position}]")


def _parts(content: dict[str, Any], at: str) -> _Faults:
    parts = content.get("parts")
    if not parts:
        yield f"Unable to submit request because {at} must include at least one parts field."
        return
    for position, part in enumerate(parts):
        yield from _part(part, f"{at}.parts[{position}]")


def _part(part: dict[str, Any], at: str) -> _Faults:
    kind = next((name for name in PART_DATA if name in part), None)
    if kind is None and part.keys() <= PART_NOTES:
        yield f"{at}.data: required oneof field 'data' must have one initialized field"
    elif kind == "text" and not part["text"]:
        yield f"Unable to submit request because it has an empty text parameter at {at}."
    elif kind in ("fileData", "inlineData"):
        yield from _media(part[kind], kind, at)
    elif kind in ("functionCall", "functionResponse") and not part[kind].get("name"):
        yield f"Unable to submit request because {kind} at {at} has no name."
    if "videoMetadata" in part:
        media = part.get("fileData") or part.get("inlineData") or {}
        if not media.get("mimeType", "").startswith("video/"):
            yield f"Unable to submit request because videoMetadata at {at} does not belong to a video."


def _media(media: dict[str, Any], kind: str, at: str) -> _Faults:
    mime_type = media.get("mimeType", "")
    if not mime_type:
        yield f"Unable to submit request because {kind} at {at} must have a mimeType parameter."
    elif "/" not in mime_type:
        yield f"Unable to submit request because it has a mimeType parameter with value {mime_type}."
    if kind == "inlineData" and not media.get("data"):
        yield f"Unable to submit request because inlineData at {at} has no data."
    if kind == "fileData" and not media.get("fileUri", "").startswith(("gs://", "https://", "http://")):
        yield f"Invalid file URI at {at}: '{media.get('fileUri', '')}'. Use gs:// or https://."


def _generation_config(request: dict[str, Any]) -> _Faults:
    config = request.get("generationConfig", {})
    for name, (lowest, highest) in _RANGES.items():
        value = config.get(name)
        if value is not None and not lowest <= float(value) <= highest:
            above = f" to {highest} (inclusive)" if highest < inf else ""
            yield (
                f"Unable to submit request because it has a {name} value of {value} but the supported range "
                f"is from {lowest} (inclusive){above}. Update the value and try again."
            )
    yield from _response_format(config)


def _response_format(config: dict[str, Any]) -> _Faults:
    mime_type = config.get("responseMimeType", "text/plain")
    schemas = [name for name in ("responseSchema", "responseJsonSchema") if name in config]
    if len(schemas) > 1:
        yield "Only one of response_schema and response_json_schema may be set."
    if schemas and mime_type == "text/plain":
        yield (
            "Unable to submit request because controlled generation needs a responseMimeType of "
            "application/json or text/x.enum."
        )
    for name in schemas:
        if fault := _schema_fault(config[name], at=f"generation_config.{snake_case(name)}"):
            yield fault


def _tools(request: dict[str, Any]) -> _Faults:
    for position, tool in enumerate(request.get("tools", [])):
        if not tool:
            yield f"tools[{position}].tool_type: required one_of 'tool_type' must have one initialized field"
        for number, function in enumerate(tool.get("functionDeclarations", [])):
            at = f"tools[{position}].function_declarations[{number}]"
            if not function.get("name"):
                yield f"{at}.name: function name is required"
            for name in ("parameters", "response"):
                if name in function and (fault := _schema_fault(function[name], at=f"{at}.{name}")):
                    yield fault


def _safety_settings(request: dict[str, Any]) -> _Faults:
    seen = set()
    for position, setting in enumerate(request.get("safetySettings", [])):
        for name in ("category", "threshold"):
            if name not in setting:
                yield f"safety_settings[{position}].{name}: value is required"
        if setting.get("category") in seen:
            yield f"safety_settings[{position}]: {setting['category']} is given more than once"
        seen.add(setting.get("category"))


def _schema_fault(schema: object, *, at: str, depth: int = 0) -> str | None:
    """Say what is wrong with ``schema``, or nothing.

    :param at: path of the schema in the message, such as ``generation_config.response_schema``.
    """
    if not isinstance(schema, Mapping):
        return f"{at}: a schema must be an object"
    if depth > _DEEPEST:
        return f"{at}: the schema is nested more than {_DEEPEST} deep"
    given = {name: value for name, value in schema.items() if value is not None or name == "const"}
    return _kind_fault(given, at) or _own_fault(given, at) or _nested_fault(given, at, depth)


def _kind_fault(schema: Mapping[str, Any], at: str) -> str | None:
    for name, value in schema.items():
        if name in _OBJECTS and not isinstance(value, Mapping):
            return f"{at}.{name}: must be an object"
        if name in _LISTS and not isinstance(value, list):
            return f"{at}.{name}: must be a list"
        if name == "type" and not isinstance(value, str | list):
            return f"{at}.type: must be a string or a list of strings"
    return None


def _own_fault(schema: Mapping[str, Any], at: str) -> str | None:
    listed = schema.get("type", [])
    kinds = {str(kind).lower() for kind in ([listed] if isinstance(listed, str) else listed)}
    if not kinds and not schema.keys() & {"anyOf", "oneOf", "enum", "const", "$ref", "ref"}:
        return f"{at}.type: must be specified"
    properties = schema.get("properties")
    if "object" in kinds and not properties and "additionalProperties" not in schema:
        return f"{at}.properties: should be non-empty for OBJECT type"
    if "array" in kinds and not schema.keys() & {"items", "prefixItems"}:
        return f"{at}.items: missing field"
    for name in schema.get("required", []):
        if not isinstance(name, str) or name not in (properties or {}):
            return f"{at}.required: property '{name}' is not defined"
    if "enum" in schema and not schema["enum"]:
        return f"{at}.enum: should be non-empty"
    if "" in schema.get("enum", []):
        return f"{at}.enum: an empty text is not allowed among the values. Write a word for it, such as none"
    return None


def _nested_fault(schema: Mapping[str, Any], at: str, depth: int) -> str | None:
    faults = (_schema_fault(inner, at=at + path, depth=depth + 1) for path, inner in _nested(schema))
    return next(filter(None, faults), None)


def _nested(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the schemas within a schema, each with its path."""
    for group in ("properties", "$defs", "defs"):
        yield from ((f'.{group}["{name}"]', inner) for name, inner in (schema.get(group) or {}).items())
    for group in ("anyOf", "oneOf", "prefixItems"):
        yield from ((f".{group}[{place}]", inner) for place, inner in enumerate(schema.get(group) or []))
    if schema.get("items") is not None:
        yield ".items", schema["items"]


def _schema_doubts(schema: Any, at: str) -> _Faults:
    """Yield what may be wrong with a schema, and nothing where it is certain that something is."""
    if not isinstance(schema, Mapping) or _schema_fault(schema, at=at):
        return
    left: list[tuple[str, Any]] = [(at, schema)]
    while left:
        path, one = left.pop()
        for keyword in sorted(one.keys() - _KEYWORDS):
            yield f'{path}: this release does not know the schema keyword "{keyword}"'
        kind = one.get("type")
        if one.get("enum") and isinstance(kind, str) and kind.upper() != "STRING":
            yield f"{path}: an enum of the type {kind}; models were seen to take one of texts only"
        left += [(path + inner_path, inner) for inner_path, inner in _nested(one)]
