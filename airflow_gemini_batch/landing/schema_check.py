"""The text of an answer → values that fit a schema, or the reason why they do not.

Its twin in SQL is :mod:`airflow_gemini_batch.landing.bigquery.schema_check_sql`: both give the same messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from string import ascii_letters
from typing import Any

import orjson

# ```json … ``` around the whole answer, which models write although they are asked for JSON.
FENCE_PATTERN = r"^\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*$"
NOT_JSON = "the answer is not valid JSON: "
EMPTY_ANSWER = "the answer is empty"
PREVIEW_LENGTH = 100
"""Characters of a value, or of an answer, that a message shows."""

_FENCE = "```"
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
    """Return the text of the first candidate, without the model's thoughts; empty when there is none."""
    try:
        parts = response["candidates"][0]["content"]["parts"]
    except (KeyError, IndexError, TypeError):
        return ""
    if isinstance(parts, Mapping):
        parts = [parts]
    if not isinstance(parts, list):
        return ""
    spoken = [part for part in parts if isinstance(part, Mapping) and not part.get("thought")]
    return "".join(text for part in spoken if isinstance(text := part.get("text"), str))


def _fenced(text: str) -> str | None:
    """Return what :data:`FENCE_PATTERN` finds, or None.

    Not by the pattern itself: Python would take minutes for an answer that is a fence and many blank lines.
    """
    text = text.strip()
    inside = text.removeprefix(_FENCE).removesuffix(_FENCE)
    if len(inside) != len(text) - 2 * len(_FENCE):
        return None
    rest = inside.lstrip(ascii_letters)
    content = rest.strip()
    blank = rest[: rest.find(content)] if content else rest
    return content if "\n" in blank else None


def parse_answer(text: str, check: Check) -> tuple[Any, str | None]:
    """Return the value that a JSON answer holds, and what is wrong with it (``None`` when it fits)."""
    for candidate in (text, _fenced(text)):
        if candidate is not None:
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
