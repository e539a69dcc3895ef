"""Rows and sources that can't become requests."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.requests.sources import parse_row_source
from airflow_gemini_batch.requests.templates import BadRow
from tests.requests.plans import BOOKS, plan, prompts
from tests.support.tables import fill, make_dataset

BAD = [
    {"isbn": None, "title": "x"},
    {"isbn": "twice", "title": "x"},
    {"isbn": "twice", "title": "y"},
    {"isbn": "empty", "title": " \n\u00a0"},
    {"isbn": "local", "title": "x", "cover": "/home/cover.png"},
    {"isbn": "unknown", "title": "x", "cover": "gs://covers/cover.xyz"},
    {"isbn": "good", "title": "x", "cover": "gs://covers/cover.png"},
]
WITH_COVER = {**BOOKS, "cover": "STRING"}


def test_bad_rows_are_an_error_that_shows_their_keys_and_nothing_is_written(client, build, dataset, table):
    source = table(BAD, WITH_COVER)
    with pytest.raises(InvalidRequestError) as caught:
        build.run(plan("[[ title ]]", request={"media": {"cover": None}}), source, dataset)
    lines = str(caught.value).splitlines()
    assert lines[1:5] == [
        f"1 row: {BadRow.NULL_KEY}",
        f"1 row: {BadRow.DUPLICATE_KEY} (twice)",
        f"1 row: {BadRow.EMPTY_PROMPT} (empty)",
        f"2 rows: {BadRow.BAD_MEDIA} (local, unknown)",
    ]
    assert [found.table_id for found in client.list_tables(dataset.dotted)] == ["books"]


def test_of_rows_with_one_key_the_same_is_kept_in_whatever_order_they_come(build, dataset, table):
    rows = [{"isbn": "a", "title": title} for title in "xyz"]
    wanted = plan(drop_bad_rows=True)
    assert (
        build.run(wanted, table(rows, name="one"), dataset).sources
        == build.run(wanted, table(rows[::-1], name="other"), dataset).sources
    )


def test_row_without_a_prompt_does_not_cost_another_one_its_place(build, dataset, table, requests):
    source = table([{"isbn": "a", "title": ""}, {"isbn": "a", "title": "x"}])
    report = build.run(plan("[[ title ]]", drop_bad_rows=True), source, dataset)
    assert prompts(requests(report)) == {"a": "x"}
    assert {fault: rows.count for fault, rows in report.bad.items()} == {BadRow.EMPTY_PROMPT: 1}


def test_keys_of_several_columns_are_one_key_only_together(build, dataset, table):
    columns = {"a": "STRING", "b": "INT64", "title": "STRING"}
    rows = [
        {"a": "x", "b": 1, "title": "t"},
        {"a": "x", "b": 2, "title": "t"},
        {"a": "x", "b": 2, "title": "u"},
        {"a": "x", "b": None, "title": "t"},
    ]
    report = build.run(plan(key=("a", "b"), drop_bad_rows=True), table(rows, columns), dataset)
    assert report.requests == 2
    assert report.bad[BadRow.DUPLICATE_KEY].keys == ('["x","2"]',)
    assert report.bad[BadRow.NULL_KEY].keys == ('["x",null]',)


def test_long_keys_are_shown_in_part(build, dataset, table):
    source = table([{"isbn": "k" * 10_000, "title": ""}, {"isbn": "b", "title": "x"}])
    with pytest.raises(InvalidRequestError) as caught:
        build.run(plan("[[ title ]]"), source, dataset)
    assert f"({'k' * 100})" in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "error", "message"),
    [
        (
            "SELECT 1 AS isbn",
            InvalidRequestError,
            r"names the column 'title', which the source query does not have",
        ),
        (
            "SELECT x FROM (SELECT 1 AS isbn)",
            InvalidRequestError,
            "BigQuery can't make requests of the source query: .*x",
        ),
        ("SELECT isbn title FROM", InvalidRequestError, "BigQuery can't make requests of the source query"),
        (
            "SELECT * FROM `demo-project.no_such.books`",
            SourceNotReadyError,
            "source query can't be read: .*no_such",
        ),
        (
            "SELECT [1] AS isbn, 'x' AS title",
            InvalidRequestError,
            r"of type ARRAY, .* TO_JSON_STRING\(`isbn`\)",
        ),
        (
            "SELECT 1.5 AS isbn, 'x' AS title",
            InvalidRequestError,
            r"of type FLOAT64, .*CAST\(`isbn` AS STRING\)",
        ),
        ("SELECT 'a' AS isbn, 'x' AS title; SELECT 2", InvalidRequestError, "source query"),
    ],
)
def test_query_that_gives_no_requests_is_refused(build, dataset, sql, error, message):
    with pytest.raises(error, match=message):
        build.run(plan(), parse_row_source(sql), dataset)


@pytest.mark.parametrize("name", ["status", "Response", "batch_job", "code", "MESSAGE", "batch_outcome"])
def test_key_that_could_not_land_is_refused_before_anything_is_paid(build, dataset, table, name):
    source = table([{name: "1", "title": "x"}], {name: "STRING", "title": "STRING"})
    with pytest.raises(InvalidRequestError, match=f"key column '{name}' has a name that .* rename it"):
        build.run(plan(key=(name,)), source, dataset)


def test_table_that_is_absent_can_be_waited_for(build, dataset):
    source = dataset.with_table("absent")
    with pytest.raises(SourceNotReadyError, match=f"source {source}: there is no such table"):
        build.run(plan(), parse_row_source(str(source)), dataset)


def test_partition_is_refused_with_the_way_out(build, dataset):
    with pytest.raises(InvalidRequestError, match="give a query with WHERE"):
        build.run(plan(), parse_row_source(f"{dataset}.books$20240501"), dataset)


def test_dataset_that_is_absent_is_named(build, table):
    source = table([{"isbn": "1", "title": "x"}])
    with pytest.raises(InvalidRequestError, match=r"no_such_dataset: there is no such dataset .* create it"):
        build.run(plan(), source, BigQueryAddress("demo-project", "no_such_dataset"))


@pytest.mark.parametrize("use", ["source", "target"])
def test_tables_of_another_location_are_refused(gemini_batch_stack, build, dataset, table, use):
    columns = {**BOOKS, "batch_fingerprint": "STRING"}
    far = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack, 'EU')}.books", columns)
    near = table([{"isbn": "1", "title": "x"}])
    source = parse_row_source(far) if use == "source" else near
    with pytest.raises(InvalidRequestError, match=f"{use} {far} is in EU, .* in us-central1"):
        build.run(plan(target=far), source, dataset)
