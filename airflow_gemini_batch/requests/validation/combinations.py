"""Settings that are right each on its own and do not go together, so that every row with them is rejected.

Known from Google's documentation and from public issue threads; those that are known of some models only are errors for
these, and doubts where the model is not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.models import short_model_name

_SEARCHES = ("googleSearch", "enterpriseWebSearch", "googleSearchRetrieval")
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_PLAIN_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_CALLING_MODES = ("ANY", "VALIDATED")


@dataclass(frozen=True, slots=True)
class Combination:
    """Settings that do not go together.

    :param fails: whether it is certain for this model; otherwise it is a doubt.
    """

    message: str
    fails: bool = True


def combinations(request: Mapping[str, Any], model: str = "") -> Iterator[Combination]:
    """Yield the combinations of a GenerateContentRequest, once it is read, that the service is known to reject.

    :param model: plain or resource name; empty when it is not known.
    """
    version = _version(model)
    config = request.get("generationConfig", {})
    tools = [tool for tool in request.get("tools", []) if isinstance(tool, Mapping)]
    kinds = list(dict.fromkeys(name for tool in tools for name in tool))
    functions = [function for tool in tools for function in tool.get("functionDeclarations", [])]
    yield from _tool_combinations(config, kinds, version)
    yield from _functions(functions)
    yield from _function_calling(request, functions)
    yield from _config_combinations(config)


def _version(model: str) -> tuple[int, int] | None:
    """Return 2, 5 of ``gemini-2.5-flash``; None of a tuned model, or of one of another maker."""
    name = re.match(r"gemini-(\d{1,3})(?:\.(\d{1,3}))?(?:-|$)", short_model_name(model)) if model else None
    return (int(name[1]), int(name[2] or 0)) if name else None


def _tool_combinations(
    config: Mapping[str, Any], kinds: list[str], version: tuple[int, int] | None
) -> Iterator[Combination]:
    is_old = version is not None and version < (3, 0)
    controlled = next(
        (name for name in ("responseSchema", "responseJsonSchema") if name in config),
        config.get("responseMimeType", "text/plain"),
    )
    is_controlled = controlled not in ("text/plain", "")
    others = [kind for kind in kinds if kind != "functionDeclarations"]
    if is_controlled and (is_old or version is None) and kinds:
        searches = [kind for kind in others if kind in _SEARCHES]
        named = " and ".join((searches or kinds)[:3])
        yield Combination(
            f"the tool {named} together with {controlled}: models before Gemini 3 take no tool beside an answer of a "
            "given form. Leave one of them out, or ask a model from Gemini 3 on",
            fails=is_old and bool(searches),
        )
    if "functionDeclarations" in kinds and others:
        yield Combination(
            f"functionDeclarations beside the tool {' and '.join(others[:3])}: models take functions alone, or search "
            "tools alone. Leave one of them out",
            fails=is_old,
        )
    if "googleSearchRetrieval" in kinds and not (version and version < (2, 0)):
        yield Combination(
            "googleSearchRetrieval, which only Gemini 1 models take: write googleSearch instead",
            fails=version is not None,
        )


def _functions(functions: list[Mapping[str, Any]]) -> Iterator[Combination]:
    seen = set()
    for function in functions:
        name = function.get("name") or ""
        if name and not _FUNCTION_NAME.fullmatch(name):
            yield Combination(
                f"the function {name!r:.100}: a name begins with a letter or _, and holds at most 128 letters a to z, "
                "digits, _, dots, colons and dashes"
            )
        elif name and not _PLAIN_FUNCTION_NAME.fullmatch(name):
            yield Combination(
                f"the function {name!r:.100}: older models take names of at most 64 characters, without colons",
                fails=False,
            )
        if name in seen:
            yield Combination(f"the function {name!r:.100} is declared twice")
        seen.add(name)
        if "parameters" in function and "parametersJsonSchema" in function:
            yield Combination(
                f"the function {name!r:.100} has parameters and parametersJsonSchema: leave one out"
            )
        for field in ("parameters", "parametersJsonSchema"):
            schema = function.get(field)
            kind = schema.get("type") if isinstance(schema, Mapping) else None
            if isinstance(kind, str) and kind.upper() != "OBJECT":
                yield Combination(
                    f"the function {name!r:.100}: {field} is of the type {kind}, and has to be an OBJECT with a "
                    "property for each parameter"
                )


def _function_calling(
    request: Mapping[str, Any], functions: list[Mapping[str, Any]]
) -> Iterator[Combination]:
    calling = request.get("toolConfig", {}).get("functionCallingConfig")
    if calling is None:
        return
    if not functions:
        yield Combination("functionCallingConfig without functionDeclarations: leave it out")
        return
    allowed = calling.get("allowedFunctionNames", [])
    if allowed and calling.get("mode") not in _CALLING_MODES:
        yield Combination(
            f"allowedFunctionNames with the mode {calling.get('mode', 'AUTO')}: they are read with the mode ANY or "
            "VALIDATED only"
        )
    declared = {function.get("name") for function in functions}
    for name in allowed:
        if name not in declared:
            yield Combination(
                f"allowedFunctionNames has {name!r:.100}, which functionDeclarations does not have"
            )


def _config_combinations(config: Mapping[str, Any]) -> Iterator[Combination]:
    thinking = config.get("thinkingConfig", {})
    if "thinkingBudget" in thinking and "thinkingLevel" in thinking:
        yield Combination("thinkingBudget together with thinkingLevel: give one of them")
    if "logprobs" in config and not config.get("responseLogprobs"):
        yield Combination("logprobs without responseLogprobs: set it to true", fails=False)
    schema = config.get("responseSchema")
    if config.get("responseMimeType") == "text/x.enum" and not (
        isinstance(schema, Mapping) and schema.get("enum")
    ):
        yield Combination(
            "responseMimeType text/x.enum without a responseSchema that lists the values in enum", fails=False
        )
    if "responseJsonSchema" in config:
        yield Combination(
            "responseJsonSchema: batch jobs were seen to ignore it, and to answer in any form. Give responseSchema, "
            "or response_schema= of the build task, which makes it of a JSON schema",
            fails=False,
        )
