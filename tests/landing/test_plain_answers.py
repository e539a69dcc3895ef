"""Answers that plainly fit their schema: they fit by the general rules as well, and have the same values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.response_schema import answer_columns, response_schema_of
from airflow_gemini_batch.landing.plain_answers import is_within_bounds, plain_column, plain_value
from airflow_gemini_batch.landing.schema_check_sql import (
    mismatch_expression,
    parsed_answer,
    value_expression,
)
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals
from tests.landing.schema_cases import CASES, Case
from tests.support.databases import shared_database

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


Values = tuple[Any, ...]


def read(schema: Any, texts: Sequence[str]) -> list[tuple[Values | None, Values | None]]:
    """Return the values of answers as far as they are plain, and by the general rules; ``None`` if they do not fit."""
    columns = answer_columns(schema)
    plain = f"SELECT *, {plain_value(schema, columns, 'text')} AS plain FROM answers"
    parsed = f"SELECT *, {parsed_answer('text', DUCKDB)} AS answer FROM ({plain})"
    items = [
        is_within_bounds(schema, columns, "plain"),
        f"{mismatch_expression(schema, 'text', 'answer', Literals(), DUCKDB)} IS NULL",
        *(plain_column(column, "plain") for column in columns),
        *(value_expression(column, "answer", DUCKDB) for column in columns),
    ]
    with shared_database() as database:
        database.execute("CREATE TEMP TABLE answers (number INTEGER, text VARCHAR)")
        database.executemany("INSERT INTO answers VALUES (?, ?)", list(enumerate(texts)))
        rows = database.execute(f"SELECT {', '.join(items)} FROM ({parsed}) ORDER BY number").fetchall()
    count = len(columns)
    return [(row[2 : 2 + count] if row[0] else None, row[2 + count :] if row[1] else None) for row in rows]


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("field", FIELDS)
def test_plain_answer_fits_and_has_the_same_values(field: str, required: bool) -> None:
    schema = response_schema_of(
        {"type": "object", "properties": {field: FIELDS[field]}, "required": [field] if required else []}
    )
    texts = ["{}", *(f'{{"{field}": {value}}}' for value in VALUES)]
    found = read(schema, texts)
    for text, (plain, checked) in zip(texts, found, strict=True):
        assert plain in (None, checked), text
    # Most of what fits is plain.
    assert sum(plain is not None for plain, _ in found) * 4 >= 3 * sum(
        checked is not None for _, checked in found
    )


def test_answer_to_any_schema_has_the_same_values() -> None:
    by_schema: dict[str, list[Case]] = {}
    for case in CASES:
        if all(name.isidentifier() for name in case.schema.get("properties", ())):  # others land in no column
            by_schema.setdefault(repr(case.schema), []).append(case)
    for cases in by_schema.values():
        found = read(cases[0].schema, [case.text for case in cases])
        for case, (plain, checked) in zip(cases, found, strict=True):
            assert plain in (None, checked), case.name
            assert (checked is None) is bool(case.message), case.name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "5",
        '{"genre": "a"',
        '{"genre": "a"}}',
        '{"genre": "a",}',
        '{"genre": "a" "b"}',
        '{"genre": "a", "more": 1}',
        '{"genre": "a", "genre": "b"}',
        '```json\n{"genre": "a"}\n```',
    ],
)
def test_what_is_not_such_an_object_alone_is_not_plain(text: str) -> None:
    assert read(response_schema_of({"genre": str}), [text])[0][0] is None


def test_values_come_in_the_order_of_the_columns() -> None:
    schema = response_schema_of({"type": "object", "properties": FIELDS})
    values = {"genre": "novel", "class": "b", "pages": 7, "scores": [0.5, 1]}
    ((plain, _),) = read(schema, [orjson.dumps(values).decode()])
    assert plain == ("novel", "b", 7, None, None, None, None, [0.5, 1])
