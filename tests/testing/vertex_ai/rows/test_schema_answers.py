from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from airflow_gemini_batch.testing.vertex_ai.rows.schema_answers import answer_schema


def _object(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or []}


SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "short string": {"type": "string", "maxLength": 7},
    "long string": {"type": "string", "minLength": 200},
    "enum": {"type": "string", "enum": ["a", "b", "c"]},
    "const": {"const": 7},
    "integer": {"type": "integer", "minimum": 3, "maximum": 5},
    "negative integer": {"type": "integer", "maximum": -5},
    "multiple": {"type": "integer", "minimum": 1, "multipleOf": 7},
    "open range": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    "number": {"type": "number", "minimum": 0.25, "maximum": 0.75},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "nullable": {"type": ["string", "null"]},
    "array": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    "empty array": {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
    "many items": {"type": "array", "items": {"type": "boolean"}, "minItems": 9},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    "any of": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    "date": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "date-time"},
    "nested": _object(
        ["book"],
        book=_object(
            ["title", "authors"],
            title={"type": "string"},
            authors={"type": "array", "items": _object(["name"], name={"type": "string"}), "minItems": 1},
            year={"type": "integer", "minimum": 1450, "maximum": 2030},
        ),
    ),
    "reference": {"$ref": "#/$defs/a", "$defs": {"a": _object(["b"], b={"type": "integer"})}},
    "recursive": {
        "$ref": "#/$defs/node",
        "$defs": {"node": _object(["next"], next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})},
    },
    "recursive list": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": _object(["children"], children={"type": "array", "items": {"$ref": "#/$defs/node"}})
        },
    },
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("seed", ["a", "b", "c", "d", "e"])
def test_satisfies_the_schema(schema: dict[str, Any], seed: str) -> None:
    value = answer_schema(schema, seed=seed, text="[local stand-in] text")
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    checker.validate(value)


def test_reads_the_dialect_of_the_api() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"b": {"type": "INTEGER", "minimum": 1, "maximum": 1}, "a": {"type": "STRING"}},
        "propertyOrdering": ["b", "a"],
    }
    value = answer_schema(schema, seed="x", text="text")
    assert list(value.items()) == [("b", 1), ("a", "text")]


def test_gives_the_same_answer_for_the_same_seed() -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 20}
    first = answer_schema(schema, seed="a", text="")
    assert first == answer_schema(schema, seed="a", text="")
    assert first != answer_schema(schema, seed="b", text="")
