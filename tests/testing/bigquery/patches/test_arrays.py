"""Subqueries over one array give in DuckDB what they give in BigQuery, without a join."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
import sqlglot

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.landing.bigquery.embedding_sql import embedding_staging_statement
from airflow_gemini_batch.landing.bigquery.inputs import AnswerTable, RequestTable
from airflow_gemini_batch.testing.bigquery.patches.arrays import comprehend_arrays
from tests.landing.vectors import vector_plan


def rewritten(sql: str) -> str:
    tree = sqlglot.parse_one(sql, read="bigquery")
    comprehend_arrays(tree, "", None)
    return tree.sql(dialect="bigquery")


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("ARRAY(SELECT x * 2 FROM UNNEST(a) AS x)", [[6, None, 2, 4], [], []]),
        ("ARRAY(SELECT x FROM UNNEST(a) AS x WITH OFFSET AS i WHERE i < 2 ORDER BY i)", [[3, None], [], []]),
        ("ARRAY(SELECT x + b FROM UNNEST(a) AS x WITH OFFSET ORDER BY offset)", [[13, None, 11, 12], [], []]),
        ("ARRAY(SELECT x AS y FROM UNNEST(a) AS x WHERE x > 1)", [[3, 2], [], []]),
        ("(SELECT SUM(x * x) FROM UNNEST(a) AS x)", [14, None, None]),
        ("(SELECT SQRT(SUM(x)) / SUM(x) FROM UNNEST(a) AS x WHERE x < 3)", [3**0.5 / 3, None, None]),
        ("(SELECT COUNTIF(x IS NULL) FROM UNNEST(a) AS x)", [1, 0, 0]),
        ("IF((SELECT COUNTIF(x > 1) FROM UNNEST(a) AS x) > 1, 'many', 'few')", ["many", "few", "few"]),
    ],
)
def test_subquery_over_an_array_is_a_comprehension(expression: str, values: list[Any]) -> None:
    sql = rewritten(f"SELECT {expression} AS value FROM t")
    assert "UNNEST" not in sql
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE t AS FROM VALUES ([3, NULL, 1, 2], 10), ([]::INT[], 10), (NULL, 10) AS t (a, b)"
        )
        duck = sqlglot.parse_one(sql, read="bigquery").sql(dialect="duckdb")
        assert [value for (value,) in database.execute(duck).fetchall()] == values


@pytest.mark.parametrize(
    "expression",
    [
        "ARRAY(SELECT x + i FROM UNNEST(a) AS x WITH OFFSET AS i)",
        "ARRAY(SELECT x FROM UNNEST(a) AS x ORDER BY x)",
        "ARRAY(SELECT DISTINCT x FROM UNNEST(a) AS x)",
        "ARRAY(SELECT x FROM UNNEST(a) AS x LIMIT 2)",
        "ARRAY(SELECT x.y FROM UNNEST(a) AS x)",
        "ARRAY(SELECT (SELECT MAX(y) FROM UNNEST(x) AS y) FROM UNNEST(a) AS x)",
        "ARRAY(SELECT SUM(x) FROM UNNEST(a) AS x)",
        "(SELECT x FROM UNNEST(a) AS x)",
        "(SELECT MAX(x) FROM UNNEST(a) AS x)",
        "(SELECT COUNT(DISTINCT x) FROM UNNEST(a) AS x)",
        "(SELECT SUM(x) FROM UNNEST(a) AS x, t)",
        "EXISTS(SELECT SUM(x) FROM UNNEST(a) AS x)",
        "b IN (SELECT SUM(x) FROM UNNEST(a) AS x)",
    ],
)
def test_other_subquery_stays(expression: str) -> None:
    sql = f"SELECT {expression} AS value FROM t"
    assert rewritten(sql) == sqlglot.parse_one(sql, read="bigquery").sql(dialect="bigquery")


@pytest.mark.parametrize("dimensions", [None, 768])
def test_vectors_land_without_a_join_of_their_numbers(dimensions: int | None) -> None:
    requests, answers = (BigQueryAddress.parse(f"bq://my-shop.d.{name}") for name in ("requests", "answers"))
    read = dict.fromkeys(("content", "task_type", "title"), "STRING")
    columns = {"isbn": "STRING", **read, "batch_fingerprint": "STRING"}
    asked = RequestTable(requests, columns, "2026-11-22", "job", 0, "s")
    came = AnswerTable(
        answers, {**read, "predictions": "JSON", "status": "STRING"}, "2026-11-22", "job", 0, "s", "m"
    )
    staging = BigQueryAddress.parse("bq://my-shop.d.staging")
    statement = embedding_staging_statement(vector_plan(dimensions), staging, [asked], [came])
    assert "UNNEST" in statement.sql
    assert "UNNEST" not in rewritten(statement.sql)
