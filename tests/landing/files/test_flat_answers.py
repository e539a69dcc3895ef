from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from airflow_gemini_batch.core.response_schema import response_schema_of
from airflow_gemini_batch.landing.files.answer_reader import flat_decoder
from airflow_gemini_batch.landing.schema_check import check_of, parse_answer

FIELDS: dict[str, dict[str, Any]] = {
    "genre": {"type": "string"},
    "class": {"type": "string", "enum": ["a", "b"]},
    "pages": {"type": "integer"},
    "year": {"type": "integer", "minimum": -500, "maximum": 2100, "nullable": True},
    "rating": {"type": "number", "minimum": 0, "maximum": 5},
    "in_print": {"type": "boolean"},
    "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
    "scores": {"type": "array", "items": {"type": "number", "maximum": 1}},
}
VALUES = [
    *(
        '"a"',
        '"c"',
        '""',
        "null",
        "true",
        "0",
        "1",
        "-1",
        "1.0",
        "1e0",
        "0.5",
        "5",
        "5.1",
        "-0.1",
        "2100",
        "2101",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1e999"),
    *(
        "[]",
        '["a"]',
        '["a","b","c"]',
        '["a",null]',
        "[0.5,1]",
        "[1.5]",
        "[true]",
        "{}",
        "NaN",
        '"\\ud83d"',
        '"😀"',
    ),
]


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [*VALUES, None])
def test_decoding_accepts_what_the_check_accepts(field: str, value: str | None, required: bool) -> None:
    schema = response_schema_of(
        {"type": "object", "properties": {field: FIELDS[field]}, "required": [field] if required else []}
    )
    assert schema is not None
    text = "{}" if value is None else f'{{"{field}": {value}, "more": 1}}'
    answer, fault = parse_answer(text, check_of(schema))
    decode = flat_decoder(schema)
    assert decode is not None
    if fault is None:
        assert decode(text) == (answer.get(field),)
    else:
        with pytest.raises(msgspec.DecodeError):
            decode(text)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "5", '{"genre": "a"', '{"genre": "a"}}', '```json\n{"genre": "a"}\n```']
)
def test_what_is_no_object_alone_is_left_to_the_check(text: str) -> None:
    decode = flat_decoder(response_schema_of({"genre": str}) or {})
    assert decode is not None
    with pytest.raises(msgspec.DecodeError):
        decode(text)


def test_values_come_in_the_order_of_the_fields() -> None:
    decode = flat_decoder(response_schema_of({"type": "object", "properties": FIELDS}) or {})
    assert decode is not None
    values = {"scores": [0.5, 1], "class": "b", "genre": "novel", "pages": 7}
    assert decode(orjson.dumps(values).decode()) == ("novel", "b", 7, None, None, None, None, [0.5, 1])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "object", "properties": {"x": {"type": "string"}}}}},
        {"a": list[list[int]]},
        {"a": list[int | None]},
        {"a": int | str},
        list[int],
        int | str,
        {"type": "object", "nullable": True, "properties": {"a": {"type": "string"}}},
    ],
)
def test_schema_of_more_than_plain_fields_has_no_decoder(schema: Any) -> None:
    translated = response_schema_of(schema)
    assert translated is not None
    assert flat_decoder(translated) is None
