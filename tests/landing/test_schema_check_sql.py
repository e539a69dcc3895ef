"""Whether answers fit their schema, and why not: one SQL, on BigQuery and on DuckDB."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.core.response_schema import answer_columns
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.schema_check_sql import (
    mismatch_expression,
    parsed_answer,
    value_expression,
)
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals
from tests.landing.schema_cases import CASES, FAR, NUMBER, TEXT, WHOLE, YES_NO, Case, list_of, object_of
from tests.support.databases import shared_database
from tests.support.tables import bigquery_client


@pytest.fixture
def query(gemini_batch_stack):
    def query(sql: str, parameters: dict[str, str]) -> list[tuple[Any, ...]]:
        statement = Statement(sql, parameters)
        rows = bigquery_client(gemini_batch_stack).query_and_wait(sql, job_config=statement.job_config())
        return [tuple(row.values()) for row in rows]

    return query


def _by_schema() -> list[list[Case]]:
    groups: dict[str, list[Case]] = {}
    for case in CASES:
        groups.setdefault(json.dumps(case.schema), []).append(case)
    return list(groups.values())


def _batches(size: int) -> list[list[list[Case]]]:
    # A statement takes a while, so that several schemas share one.
    groups = _by_schema()
    return [groups[start : start + size] for start in range(0, len(groups), size)]


@pytest.mark.parametrize("groups", _batches(12), ids=lambda groups: f"{groups[0][0].name}-and-on")
def test_sql_says_why_an_answer_does_not_fit(query, groups):
    parameters = Parameters()
    selects = []
    for cases in groups:
        texts = " UNION ALL ".join(
            f"SELECT {parameters.bind(case.name)} AS name, {parameters.bind(case.text)} AS text"
            for case in cases
        )
        selects.append(
            f"""SELECT name, {mismatch_expression(cases[0].schema, "text", "answer", parameters)} AS message
            FROM (SELECT name, text, {parsed_answer("text")} AS answer FROM ({texts}))"""
        )
    rows = query(" UNION ALL ".join(selects), parameters.values)
    # The local engine keeps digits that BigQuery rounds.
    rows = [(name, message and message.replace("9" * 40, FAR)) for name, message in rows]
    assert dict(rows) == {case.name: case.message for cases in groups for case in cases}


@pytest.mark.parametrize("cases", _by_schema(), ids=lambda cases: f"{cases[0].name}-and-on")
def test_duckdb_says_why_an_answer_does_not_fit(cases):
    message = mismatch_expression(cases[0].schema, "text", "answer", Literals(), DUCKDB)
    parsed = parsed_answer("text", DUCKDB)
    texts = ", ".join(f"({Literals().bind(case.name)}, {Literals().bind(case.text)})" for case in cases)
    rows = shared_database().execute(f"""SELECT name, {message}
FROM (SELECT name, text, {parsed} AS answer FROM (VALUES {texts}) AS answers (name, text))""")
    assert dict(rows.fetchall()) == {case.name: case.message for case in cases}


def test_field_that_no_path_can_name_is_told():
    schema = {"type": "OBJECT", "properties": {'a"b': TEXT}}
    with pytest.raises(InvalidRequestError, match=r"BigQuery can't read the field 'a\"b'\. Rename it"):
        mismatch_expression(schema, "text", "answer", Parameters())


SCHEMA = object_of(
    title=TEXT,
    year=WHOLE,
    rating=NUMBER,
    in_print=YES_NO,
    tags=list_of(TEXT),
    years=list_of(WHOLE),
    author=object_of(name=TEXT),
    prints=list_of(object_of(year=WHOLE)),
)


@pytest.mark.parametrize(
    ("column", "field", "value"),
    [
        ("title", '"\\"It\'s\\" \\u00e9\\n😀 \\\\"', '"It\'s" é\n😀 \\'),
        ("title", "null", None),
        ("year", "-9223372036854775808", -(2**63)),
        ("year", "null", None),
        ("rating", "0.1", 0.1),
        ("rating", "3", 3.0),
        ("rating", "-1.5e-7", -1.5e-7),
        ("in_print", "false", False),
        ("tags", '["b", "", "a", "b"]', ["b", "", "a", "b"]),
        ("tags", "[]", []),
        ("tags", "null", []),
        ("years", "[10, 9, 10]", [10, 9, 10]),
        ("author", '{"name": "Emily \\"B\\"", "more": null}', {"name": 'Emily "B"', "more": None}),
        ("author", "null", None),
        ("prints", '[{"year": 1847}, {"year": 1850}]', [{"year": 1847}, {"year": 1850}]),
    ],
)
def test_sql_reads_the_value_of_a_column(query, column, field, value):
    found = {one.name: one for one in answer_columns(SCHEMA)}[column]
    sql = f"SELECT {value_expression(found, 'answer')} FROM (SELECT PARSE_JSON(@p0) AS answer)"
    ((row,),) = query(sql, {"p0": f'{{"{column}": {field}}}'})
    assert (json.loads(row) if found.type == "JSON" and isinstance(row, str) else row) == value


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [(WHOLE, "3", 3), (list_of(NUMBER), "[0.5, 1]", [0.5, 1.0]), (TEXT, '"a"', "a")],
)
def test_sql_reads_an_answer_without_fields(query, schema, text, value):
    (column,) = answer_columns(schema)
    sql = f"SELECT {value_expression(column, 'answer')} FROM (SELECT PARSE_JSON(@p0) AS answer)"
    assert query(sql, {"p0": text}) == [(value,)]
