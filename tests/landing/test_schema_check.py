"""Answers as models write them, and the schemas that they fit or not, on DuckDB."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from airflow_gemini_batch.core.response_schema import response_schema_of
from airflow_gemini_batch.landing.schema_check_sql import mismatch_expression, parsed_answer
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals
from tests.support.cases import at_once, parameters_of
from tests.support.databases import shared_database

Judge = Callable[..., tuple[Any, str | None]]

# What takes time is judged alone.
LONG = 100_000
ANYTHING: dict[str, Any] = {"type": "OBJECT", "properties": {}}


def judge_all(texts: Sequence[str], schema: Any = None) -> list[tuple[Any, str | None]]:
    """Return the value of each answer, and why it does not fit a schema."""
    translated = response_schema_of(schema) or ANYTHING
    message = mismatch_expression(translated, "text", "answer", Literals(), DUCKDB)
    with shared_database() as database:
        rows = database.execute(
            f"SELECT answer::VARCHAR, {message} FROM (SELECT *, {parsed_answer('text', DUCKDB)} AS answer "
            "FROM (SELECT UNNEST($1::VARCHAR[]) AS text, UNNEST(range(len($1::VARCHAR[]))) AS number)) ORDER BY number",
            [list(texts)],
        ).fetchall()
    return [(None if value is None else json.loads(value), mismatch) for value, mismatch in rows]


@pytest.fixture(scope="module")
def judge(request: pytest.FixtureRequest) -> Judge:
    """Return the value of an answer, and why it does not fit a schema; those of a kind are judged together."""
    cases = list(parameters_of(request))
    alone = at_once(judge_all, (one["text"] for one in cases if "text" in one and len(one["text"]) < LONG))
    books = at_once(
        lambda texts: judge_all(texts, BOOK),
        (
            json.dumps({**GOOD, **one["more"]} if "more" in one else one["value"])
            for one in cases
            if "fault" in one or "more" in one
        ),
    )

    def judge(text: str, schema: Any = None) -> tuple[Any, str | None]:
        if schema is None:
            return alone(text)
        return books(text) if schema is BOOK else judge_all([text], schema)[0]

    return judge


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a": 1}\n',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}\n```',
        '\n ```JSON \r\n{"a": 1}\n ```\n',
        '```json\n{"a": 1}```',
        '```json\n{"a": 1}',
        'Here you are:\n```json\n{"a": 1}\n```',
    ],
)
def test_json_is_read_with_and_without_a_fence(judge: Judge, text: str) -> None:
    assert judge(text) == ({"a": 1}, None)


def test_fence_within_an_answer_is_text(judge: Judge) -> None:
    assert judge('{"code": "```\\nx\\n```"}') == ({"code": "```\nx\n```"}, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "A novel.",
        '{"a": 1',
        '{"a": NaN}',
        '{"a": "\\ud83d"}',
        '{"a": 1e999}',
        '```json\n{"a": \n```',
        '{"a": 1}{"a": 1}',
        "[" * 5000,
    ],
)
def test_what_is_not_json_says_so(judge: Judge, text: str) -> None:
    value, fault = judge(text)
    assert value is None
    assert fault is not None
    assert fault == (f"the answer is not valid JSON: {text[:100]}" if text else "the answer is empty")


@pytest.mark.parametrize(
    "text",
    [
        "```json" + "\n" * 300_000,
        "```" + " " * 300_000,
        "```" * 100_000,
        "\n   " * 100_000 + "```",
        "```[" * 50_000,
    ],
    ids=["blank-lines", "spaces", "fences", "indented", "fences-of-lists"],
)
def test_long_answer_without_json_is_told_at_once(judge: Judge, text: str) -> None:
    began = time.process_time()
    assert judge(text)[0] is None
    assert time.process_time() - began < 2


BOOK = {
    "type": "object",
    "properties": {
        "genre": {"type": "string", "enum": ["novel", "poems"]},
        "pages": {"type": "integer", "minimum": 1, "maximum": 9000},
        "rating": {"type": "number", "minimum": 0, "nullable": True},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "author": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "alive": {"type": "boolean"}},
            "required": ["name"],
        },
        "shelf": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}]},
    },
    "required": ["genre", "rating"],
}
GOOD: dict[str, Any] = {"genre": "novel", "rating": 4.5}


def check(judge: Judge, schema: Any, value: Any) -> str | None:
    return judge(json.dumps(value), schema)[1]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"rating": None},
        {"rating": 0},
        {"pages": 1},
        {"pages": None},
        {"pages": 9000},
        {"tags": ["a", "b"]},
        {"tags": None},
        {"author": {"name": "Mary", "alive": False, "born": 1797}},
        {"author": {"name": "Mary", "alive": None}},
        {"shelf": "A"},
        {"shelf": []},
        {"shelf": [1, 2]},
        {"unasked": [None]},
    ],
)
def test_value_that_fits_has_no_fault(judge: Judge, more: dict[str, Any]) -> None:
    assert check(judge, BOOK, {**GOOD, **more}) is None


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"genre": "essay"}, 'genre: expected one of "novel", "poems", got "essay"'),
        ({"genre": None}, 'genre: expected one of "novel", "poems", got null'),
        ({"pages": 9001}, "pages: expected an integer from 1 to 9000, got 9001"),
        ({"pages": True}, "pages: expected an integer from 1 to 9000, got true"),
        ({"rating": -0.1}, "rating: expected a number of at least 0 or null, got -0.1"),
        ({"tags": []}, "tags: expected a list of 1 to 2 items, got []"),
        ({"tags": ["a", None]}, "tags[1]: expected a string, got null"),
        ({"author": []}, "author: expected an object, got []"),
        ({"author": {}}, "author.name: expected a string, got nothing"),
        ({"author": {"name": "Mary", "alive": "yes"}}, 'author.alive: expected a boolean, got "yes"'),
        ({"shelf": ["a"]}, 'shelf: expected a string or a list, got ["a"]'),
    ],
)
def test_value_that_does_not_fit_says_where_and_why(judge: Judge, more: dict[str, Any], fault: str) -> None:
    assert check(judge, BOOK, {**GOOD, **more}) == fault


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "the answer: expected an object, got []"),
        (None, "the answer: expected an object, got null"),
        ({}, 'genre: expected one of "novel", "poems", got nothing'),
        ({"genre": "novel"}, "rating: expected a number of at least 0 or null, got nothing"),
    ],
)
def test_answer_that_is_something_else_says_so(judge: Judge, value: Any, fault: str) -> None:
    assert check(judge, BOOK, value) == fault


@pytest.mark.parametrize(
    ("value", "fits"), [(2**63 - 1, True), (-(2**63), True), (2**63, False), (-(2**63) - 1, False)]
)
def test_whole_numbers_fit_64_bits(judge: Judge, value: int, fits: bool) -> None:
    assert (check(judge, {"type": "integer"}, value) is None) is fits


def test_long_values_are_cut_in_messages(judge: Judge) -> None:
    fault = check(judge, {"type": "integer"}, "x" * 10_000)
    assert fault is not None
    assert len(fault) < 200


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "nullable": True}, None),
        (list[list[int]], [[1], []]),
        ({"enum": ["a", "b"]}, "b"),
    ],
)
def test_answer_need_not_be_an_object(judge: Judge, schema: Any, value: Any) -> None:
    assert check(judge, schema, value) is None
