"""Checking a response schema, in the API's own dialect or as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What controlled generation understands of JSON Schema.
_KEYWORDS = {
    *(
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "default",
        "example",
        "examples",
        "const",
        "enum",
    ),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern"),
    *("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    *("properties", "required", "additionalProperties", "propertyOrdering", "minProperties", "maxProperties"),
    *("anyOf", "oneOf", "$id", "$anchor", "$ref", "$defs", "ref", "defs"),
}
_OBJECTS = {"properties", "$defs", "defs"}
_LISTS = {"anyOf", "oneOf", "prefixItems", "required", "enum"}
_DEEPEST = 32


def schema_fault(schema: object, *, at: str, depth: int = 0) -> str | None:
    """Say what is wrong with ``schema``, or nothing.

    :param at: path of the schema in the message, such as ``generation_config.response_schema``.
    """
    if not isinstance(schema, Mapping):
        return f"{at}: a schema must be an object"
    if depth > _DEEPEST:
        return f"{at}: the schema is nested more than {_DEEPEST} deep"
    if unknown := sorted(schema.keys() - _KEYWORDS):
        return f'{at}: unknown schema keyword "{unknown[0]}"'
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
    kinds = _types(schema)
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
    return None


def _nested_fault(schema: Mapping[str, Any], at: str, depth: int) -> str | None:
    nested: list[tuple[str, object]] = []
    for group in ("properties", "$defs", "defs"):
        nested += [(f'{at}.{group}["{name}"]', inner) for name, inner in schema.get(group, {}).items()]
    for group in ("anyOf", "oneOf", "prefixItems"):
        nested += [
            (f"{at}.{group}[{position}]", inner) for position, inner in enumerate(schema.get(group, []))
        ]
    if "items" in schema:
        nested.append((f"{at}.items", schema["items"]))
    for path, inner in nested:
        if fault := schema_fault(inner, at=path, depth=depth + 1):
            return fault
    return None


def _types(schema: Mapping[str, Any]) -> set[str]:
    kinds = schema.get("type", [])
    return {str(kind).lower() for kind in ([kinds] if isinstance(kinds, str) else kinds)}
