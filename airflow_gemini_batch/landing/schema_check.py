"""The text of an answer → values that fit a schema, or the reason why they do not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

# ```json … ``` around the whole answer, which models write in spite of being asked for JSON.
FENCE_PATTERN = r"^\s*```[A-Za-z]*\s*\n(.*?)\n?\s*```\s*$"
_FENCE = re.compile(FENCE_PATTERN, re.DOTALL)
_INT64 = 2**63

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, ``None`` when it fits."""


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


def parse_answer(text: str, check: Check) -> tuple[Any, str | None]:
    """Return the value that a JSON answer holds, and what is wrong with it (``None`` when it fits)."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        fenced = _FENCE.match(text)
        if not fenced:
            return None, f"the answer is no JSON: {error}"
        try:
            value = orjson.loads(fenced[1])
        except orjson.JSONDecodeError as inner:
            return None, f"the answer is no JSON: {inner}"
    return value, check(value)


def check_of(schema: Mapping[str, Any], at: str = "the answer") -> Check:
    """Return the check for a schema, as :func:`airflow_gemini_batch.core.response_schema.response_schema_of` gives it.

    Held are types, ``required``, ``nullable``, ``enum``, bounds of numbers and of lists' lengths, and alternatives.
    A field that is not required may be ``null`` as well as absent; fields that the schema does not name are passed
    over.
    """
    inner = _alternatives(schema, at) if "anyOf" in schema else _CHECKS[schema["type"]](schema, at)
    if not schema.get("nullable"):
        return inner
    return lambda value: None if value is None else inner(value)


def _alternatives(schema: Mapping[str, Any], at: str) -> Check:
    checks = [check_of(option, at) for option in schema["anyOf"]]

    def check(value: Any) -> str | None:
        return None if any(one(value) is None for one in checks) else f"{at} fits none of the alternatives"

    return check


def _string(schema: Mapping[str, Any], at: str) -> Check:
    allowed = frozenset(schema.get("enum") or ())

    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"{at} is no text: {_shown(value)}"
        return (
            f"{at} is none of the values allowed: {_shown(value)}"
            if allowed and value not in allowed
            else None
        )

    return check


def _number(schema: Mapping[str, Any], at: str) -> Check:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    whole = schema["type"] == "INTEGER"

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            return f"{at} is no {'whole ' if whole else ''}number: {_shown(value)}"
        if whole and not -_INT64 <= value < _INT64:
            return f"{at} is beyond 64 bits: {_shown(value)}"
        if (lowest is not None and value < lowest) or (highest is not None and value > highest):
            return f"{at} is out of bounds: {_shown(value)}"
        return None

    return check


def _boolean(_: Mapping[str, Any], at: str) -> Check:
    return lambda value: (
        None if isinstance(value, bool) else f"{at} is neither true nor false: {_shown(value)}"
    )


def _array(schema: Mapping[str, Any], at: str) -> Check:
    item = check_of(schema["items"], f"an item of {at}")
    fewest, most = int(schema.get("minItems") or 0), schema.get("maxItems")

    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"{at} is no list: {_shown(value)}"
        if len(value) < fewest or (most is not None and len(value) > int(most)):
            return f"{at} has {len(value)} items"
        for one in value:
            if fault := item(one):
                return fault
        return None

    return check


def _object(schema: Mapping[str, Any], at: str) -> Check:
    required = frozenset(schema.get("required") or ())
    fields = [
        (name, name in required, check_of(inner, name if at == "the answer" else f"{at}.{name}"))
        for name, inner in schema["properties"].items()
    ]

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return f"{at} is no object: {_shown(value)}"
        for name, needed, fits in fields:
            if name not in value:
                if needed:
                    return f"{name} is missing"
            elif ((inner := value[name]) is not None or needed) and (fault := fits(inner)):
                return fault
        return None

    return check


_CHECKS: dict[str, Callable[[Mapping[str, Any], str], Check]] = {
    "STRING": _string,
    "INTEGER": _number,
    "NUMBER": _number,
    "BOOLEAN": _boolean,
    "ARRAY": _array,
    "OBJECT": _object,
}


def _shown(value: Any) -> str:
    return repr(value)[:80]
