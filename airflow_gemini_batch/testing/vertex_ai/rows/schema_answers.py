"""JSON values that satisfy a response schema."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

_DEEPEST = 8
_FORMATS = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "stand-in@example.com",
    "uri": "https://example.com/stand-in",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
}


def answer_schema(schema: Mapping[str, Any], *, seed: str, text: str) -> Any:
    """Return a value of the schema, in the API's dialect (``STRING``) or JSON Schema (``string``).

    Types, enums, constants, required and optional properties, nesting, references, bounds and the usual
    string formats are kept to; a ``pattern`` is not.

    :param seed: the same seed gives the same choices.
    :param text: what free strings say.
    """
    return _Answer(schema, seed, text).value(schema, "$", 0)


class _Answer:
    def __init__(self, root: Mapping[str, Any], seed: str, text: str) -> None:
        self._definitions = root.get("$defs") or root.get("defs") or {}
        self._seed = seed
        self._text = text

    def value(self, schema: Mapping[str, Any], at: str, depth: int) -> Any:
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if options := schema.get("enum"):
            return options[self._number(at) % len(options)]
        if options := schema.get("anyOf") or schema.get("oneOf"):
            # A recursive schema ends in its plainest alternative.
            plain = [option for option in options if _kind(self._resolved(option)) not in ("object", "array")]
            choices = plain if depth > _DEEPEST and plain else options
            return self.value(choices[self._number(at) % len(choices)], at, depth + 1)
        match _kind(schema):
            case "object":
                return self._object(schema, at, depth)
            case "array":
                return self._array(schema, at, depth)
            case "integer":
                return self._integer(schema, at)
            case "number":
                return self._real(schema, at)
            case "boolean":
                return self._number(at) % 2 == 0
            case "null":
                return None
            case _:
                return self._string(schema, at)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        for _ in range(_DEEPEST):
            reference = schema.get("$ref") or schema.get("ref")
            if not reference:
                break
            schema = self._definitions.get(str(reference).rpartition("/")[2], {})
        return schema

    def _object(self, schema: Mapping[str, Any], at: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = set(schema.get("required", []))
        order = [name for name in schema.get("propertyOrdering", []) if name in properties]
        names = [*order, *(name for name in properties if name not in order)]
        return {
            name: self.value(properties[name], f"{at}.{name}", depth + 1)
            for name in names
            if name in required or depth < _DEEPEST
        }

    def _array(self, schema: Mapping[str, Any], at: str, depth: int) -> list[Any]:
        first = [
            self.value(item, f"{at}[{position}]", depth + 1)
            for position, item in enumerate(schema.get("prefixItems", []))
        ]
        least = int(schema.get("minItems", 0))
        most = int(schema.get("maxItems", max(least, 3)))
        wanted = least if depth >= _DEEPEST else min(most, max(least, 1 + self._number(at) % 3))
        items = schema.get("items", {})
        rest = range(len(first), wanted) if items else range(0)
        return first + [self.value(items, f"{at}[{position}]", depth + 1) for position in rest]

    def _integer(self, schema: Mapping[str, Any], at: str) -> int:
        low, high = _bounds(schema, step=1)
        lowest, highest = math.ceil(low), math.floor(high)
        multiple = int(schema.get("multipleOf", 1))
        lowest = -(-lowest // multiple) * multiple
        return lowest + self._number(at) % max(1, (highest - lowest) // multiple + 1) * multiple

    def _real(self, schema: Mapping[str, Any], at: str) -> float:
        low, high = _bounds(schema, step=1e-6)
        return min(high, max(low, round(low + (high - low) * (self._number(at) % 1000) / 1000, 4)))

    def _string(self, schema: Mapping[str, Any], at: str) -> str:
        if fixed := _FORMATS.get(str(schema.get("format", ""))):
            return fixed
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        text = self._text
        while len(text) < least:
            text += f" {self._text}"
        return text if most is None else text[: int(most)]

    def _number(self, at: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self._seed}{at}".encode(), digest_size=6).digest(), "big")


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind).lower()


def _bounds(schema: Mapping[str, Any], *, step: float) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and (above := schema.get("exclusiveMinimum")) is not None:
        low = above + step
    if high is None and (below := schema.get("exclusiveMaximum")) is not None:
        high = below - step
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100
    if high is None:
        high = low + 100
    return float(low), float(high)
