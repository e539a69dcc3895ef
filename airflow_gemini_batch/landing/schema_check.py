"""The text of an answer → values that fit a schema, or the reason why they do not.

Its twin in SQL is :mod:`airflow_gemini_batch.landing.schema_check_sql`: both give the same messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.outputs.classify import answer_candidate, candidate_text

# ```json … ```, which models write although they are asked for JSON, with words around it and an end or not. What
# stands behind it has to begin like JSON, so that the end of another fence is not taken for a beginning.
FENCE_PATTERN = r"```(?:[A-Za-z0-9_+.-]*\s|(?:[jJ][sS][oO][nN]))?\s*"
FENCED_PATTERN = r'[\[{"0-9-]|true|false|null'
FENCE_END_PATTERN = r"\n[ \t]*```"
"""An end that is not within a string of JSON."""
NOT_JSON = "the answer is not valid JSON: "
EMPTY_ANSWER = "the answer is empty"
PREVIEW_LENGTH = 100
"""Characters of a value, or of an answer, that a message shows."""

_FENCE = "```"
_BYTE_ORDER_MARK = "\ufeff"
_find_fence = re.compile(f"{FENCE_PATTERN}(?={FENCED_PATTERN})", re.ASCII).search
_find_end = re.compile(FENCE_END_PATTERN).search
_INT64 = 2**63
_KINDS = {
    "STRING": "a string",
    "INTEGER": "an integer",
    "NUMBER": "a number",
    "BOOLEAN": "a boolean",
    "ARRAY": "a list",
    "OBJECT": "an object",
}

Check = Callable[[Any], str | None]
"""Returns what is wrong with a value, such as ``genre: expected a string, got 3``; ``None`` when the value fits."""


def answer_text(response: Mapping[str, Any]) -> str:
    """Return the text of the candidate that counts, without the model's thoughts; empty when there is none."""
    candidate = answer_candidate(response)
    return candidate_text(candidate) if candidate else ""


def _json_texts(text: str) -> Iterator[str]:
    """Yield where a text may hold JSON: all of it, and what stands in the first fence that holds something like it.

    The fence may end at a line of its own, at the last or the next fence in the text, or with the text.
    """
    yield text.removeprefix(_BYTE_ORDER_MARK)
    if fence := _find_fence(text):
        start = fence.end()
        if end := _find_end(text, start):
            yield text[start : end.start()]
        for place in (text.rfind(_FENCE, start), text.find(_FENCE, start)):
            if place >= 0:
                yield text[start:place]
        yield text[start:]


def parse_answer(text: str, check: Check) -> tuple[Any, str | None]:
    """Return the value that a JSON answer holds, and what is wrong with it (``None`` when it fits)."""
    for candidate in _json_texts(text):
        try:
            value = orjson.loads(candidate)
        except orjson.JSONDecodeError:
            continue
        return value, check(value)
    return None, f"{NOT_JSON}{text[:PREVIEW_LENGTH]}" if text else EMPTY_ANSWER


def expected(schema: Mapping[str, Any]) -> str:
    """Return what a schema expects, as messages name it: ``an integer from 1 to 5``, ``one of "a", "b"``."""
    if "anyOf" in schema:
        text = " or ".join(map(expected, schema["anyOf"]))
    elif allowed := schema.get("enum"):
        text = f"one of {json.dumps(list(allowed), ensure_ascii=False)[1:-1]}"
    else:
        text = _KINDS[schema["type"]]
    unit = " items" if schema.get("type") == "ARRAY" else ""
    lowest, highest = (
        schema.get(names[bool(unit)]) for names in (("minimum", "minItems"), ("maximum", "maxItems"))
    )
    if lowest is not None and highest is not None:
        text += f" {'of' if unit else 'from'} {lowest} to {highest}{unit}"
    elif lowest is not None:
        text += f" of at least {lowest}{unit}"
    elif highest is not None:
        text += f" of at most {highest}{unit}"
    return text[:PREVIEW_LENGTH] + (" or null" if schema.get("nullable") else "")


def check_of(schema: Mapping[str, Any]) -> Check:
    """Return the check for a schema, as :func:`airflow_gemini_batch.core.response_schema.response_schema_of` gives it.

    It holds types, ``required``, ``nullable``, ``enum``, bounds of numbers and of lists' lengths, and alternatives.
    A field that is not required may be ``null`` as well as absent; fields that the schema does not name are ignored.
    """
    check = _check_of(schema)

    def named(value: Any) -> str | None:
        error = check(value)
        if error is None:
            return None
        # Inside, an error begins with the path of the value.
        return error[1:] if error.startswith(".") else f"the answer{error}"

    return named


def _check_of(schema: Mapping[str, Any]) -> Check:
    wanted = f": expected {expected(schema)}, got "

    def mismatch(value: Any) -> str:
        return wanted + json.dumps(value, ensure_ascii=False, separators=(",", ":"))[:PREVIEW_LENGTH]

    if "anyOf" in schema:
        check = _alternatives(schema, mismatch)
    elif schema["type"] == "ARRAY":
        check = _array(schema, mismatch)
    elif schema["type"] == "OBJECT":
        check = _object(schema, mismatch)
    else:
        check = _scalar(schema, mismatch)
    if not schema.get("nullable"):
        return check
    return lambda value: None if value is None else check(value)


def _alternatives(schema: Mapping[str, Any], mismatch: Callable[[Any], str]) -> Check:
    checks = [_check_of(option) for option in schema["anyOf"]]
    return lambda value: None if any(check(value) is None for check in checks) else mismatch(value)


def _scalar(schema: Mapping[str, Any], mismatch: Callable[[Any], str]) -> Check:
    kind = schema["type"]
    allowed = frozenset(schema.get("enum") or ())
    lowest, highest = schema.get("minimum"), schema.get("maximum")

    def fits(value: Any) -> bool:
        if kind == "STRING":
            return isinstance(value, str) and (not allowed or value in allowed)
        if kind == "BOOLEAN" or isinstance(value, bool):
            return kind == "BOOLEAN" and isinstance(value, bool)
        whole = kind == "INTEGER"
        return (
            isinstance(value, int if whole else (int, float))
            and (not whole or -_INT64 <= value < _INT64)
            and (lowest is None or value >= lowest)
            and (highest is None or value <= highest)
        )

    return lambda value: None if fits(value) else mismatch(value)


def _array(schema: Mapping[str, Any], mismatch: Callable[[Any], str]) -> Check:
    check_item = _check_of(schema["items"])
    fewest, most = int(schema.get("minItems") or 0), schema.get("maxItems")

    def check(value: Any) -> str | None:
        if (
            not isinstance(value, list)
            or len(value) < fewest
            or (most is not None and len(value) > int(most))
        ):
            return mismatch(value)
        for index, item in enumerate(value):
            if error := check_item(item):
                return f"[{index}]{error}"
        return None

    return check


def _object(schema: Mapping[str, Any], mismatch: Callable[[Any], str]) -> Check:
    required = frozenset(schema.get("required") or ())
    fields = [
        (name, name in required, _check_of(inner), f".{name}: expected {expected(inner)}, got nothing")
        for name, inner in schema["properties"].items()
    ]

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return mismatch(value)
        for name, needed, check_field, missing in fields:
            if name not in value:
                if needed:
                    return missing
            elif ((inner := value[name]) is not None or needed) and (error := check_field(inner)):
                return f".{name}{error}"
        return None

    return check
