"""Values of a source query travel as query parameters, never as part of its text."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import BuildGeminiRequestsOperator, PreflightGeminiBatchOperator
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.statements import Statement, checked_parameters
from airflow_gemini_batch.requests.sources import QueryRows, row_source
from tests.operators.steps import BOOKS, PROMPT, book, built
from tests.support.tables import fill, make_dataset, read
from tests.support.tasks import run_task

# Importing BigQuery's client tries whether this machine has IPv6.
pytestmark = pytest.mark.stack

INJECTED = "x' OR TRUE -- \n*/; DROP TABLE books; @p0 ` \\"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("text", "STRING"),
        (INJECTED, "STRING"),
        (True, "BOOL"),
        (-(2**63), "INT64"),
        (0.5, "FLOAT64"),
        (Decimal("1.25"), "BIGNUMERIC"),
        (b"x", "BYTES"),
        (date(2026, 11, 22), "DATE"),
        (datetime(2026, 11, 22, 8), "DATETIME"),
        (datetime(2026, 11, 22, 8, tzinfo=UTC), "TIMESTAMP"),
        (time(8), "TIME"),
        (["a", "b"], "ARRAY<STRING>"),
        ([1, 2], "ARRAY<INT64>"),
    ],
)
def test_values_have_the_types_of_bigquery(value, kind):
    statement = Statement("SELECT 1", {"p0": "ours"}, checked_parameters({"day": value}))
    ours, given = (one.to_api_repr() for one in statement.job_config().query_parameters)
    assert (ours["name"], ours["parameterType"]["type"]) == ("p0", "STRING")
    found = given["parameterType"]
    assert given["name"] == "day"
    assert (f"ARRAY<{found['arrayType']['type']}>" if "arrayType" in found else found["type"]) == kind


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("day", "expected a dict of names and values, got 'day'"),
        ({"a b": 1}, "'a b' is not a name"),
        ({"day;--": 1}, "is not a name"),
        ({1: 1}, "1 is not a name"),
        ({"p0": "x"}, "this package uses names such as p0 itself"),
        ({"P12": "x"}, "this package uses names such as P12 itself"),
        ({"day": None}, "day: expected a text, a number, a date, a time or a list of one of them, got None"),
        ({"day": {"a": 1}}, "day: expected a text"),
        ({"day": []}, "day: expected values of one type in a list, got an empty list"),
        ({"day": [1, "a"]}, "day: expected values of one type in a list, got INT64 and STRING"),
        ({"day": [[1]]}, "day: expected a text"),
        ({"day": 2**63}, "day: the number is larger than INT64 takes"),
    ],
)
def test_what_can_t_be_a_parameter_is_refused(parameters, message):
    with pytest.raises(InvalidRequestError, match=message):
        row_source("SELECT 1", parameters)


@pytest.mark.parametrize("source", ["bq://my-project.shop.books", "books.csv", [{"isbn": 1}], list])
def test_only_queries_have_parameters(source):
    with pytest.raises(InvalidRequestError, match="source_parameters are for a source that is a query"):
        row_source(source, {"day": "x"})
    assert row_source(source, {}) == row_source(source)


def test_query_keeps_its_parameters():
    assert row_source("SELECT @day", {"day": "x"}) == QueryRows("SELECT @day", {"day": "x"})


@pytest.fixture
def dataset(gemini_batch_stack):
    dataset = make_dataset(gemini_batch_stack)
    rows = [book(1), book(2), book(3, title=INJECTED)]
    fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
    return dataset


def query(dataset: str, condition: str) -> str:
    return f"SELECT isbn, title FROM `{dataset.removeprefix('bq://')}.books` WHERE {condition}"


@pytest.mark.parametrize(
    ("condition", "parameters", "asked"),
    [
        ("title = @title", {"title": "Title 1"}, {"978-1"}),
        ("title = @title", {"title": INJECTED}, {"978-3"}),
        ("title = @title", {"title": "x' OR TRUE -- "}, set()),
        ("isbn IN UNNEST(@isbns)", {"isbns": ["978-1", "978-3"]}, {"978-1", "978-3"}),
        (
            "@least <= 2 AND @also AND DATE '2026-11-22' = @day",
            {"least": 2, "also": True, "day": date(2026, 11, 22)},
            {"978-1", "978-2", "978-3"},
        ),
    ],
)
@pytest.mark.parametrize("shard_rows", [None, 1])
def test_query_is_read_with_its_parameters(
    gemini_batch_stack, dataset, condition, parameters, asked, shard_rows
):
    requests = built(
        query(dataset, condition),
        requests=dataset,
        source_parameters=parameters,
        on_empty="succeed",
        shard_rows=shard_rows,
    )
    assert {row["isbn"] for source in requests for row in read(gemini_batch_stack, source)} == asked


def test_query_without_its_parameter_is_refused(dataset):
    with pytest.raises(AirflowFailException, match="the source query"):
        built(query(dataset, "title = @title"), requests=dataset)


def test_preflight_checks_the_query_with_its_parameters(dataset):
    def check(**arguments):
        task = PreflightGeminiBatchOperator(
            task_id="preflight",
            source=query(dataset, "title = @title"),
            key="isbn",
            prompt=PROMPT,
            model="gemini-2.5-flash",
            target=f"{dataset}.answers",
            **arguments,
        )
        return run_task(task)

    assert "warnings" in check(source_parameters={"title": "x"})
    with pytest.raises(AirflowFailException, match="this package uses names such as p1 itself"):
        check(source_parameters={"p1": "x"})


def test_parameters_are_a_template():
    assert "source_parameters" in BuildGeminiRequestsOperator.template_fields
    assert "source_parameters" in PreflightGeminiBatchOperator.template_fields
