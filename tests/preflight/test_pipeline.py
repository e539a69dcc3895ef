"""The preflight of a pipeline with the real clients, against the local servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden

from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.preflight.findings import Finding
from airflow_gemini_batch.preflight.pipeline import preflight_rows
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.sources import parse_row_source
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import gemini_request
from tests.support.requests_data import upload
from tests.support.tables import bigquery_client, fill, make_dataset

BOOKS = {"isbn": "STRING", "title": "STRING", "cover": "STRING"}
BOOK = {"isbn": "978-0", "title": "Emma", "cover": "gs://covers/emma.png"}
LANDED = {"isbn": "STRING", "summary": "STRING", FINGERPRINT_COLUMN: "STRING"}
SUMMARY = (AnswerColumn("summary", "STRING"),)

Check = Callable[..., list[Finding]]


def plan(prompt: str = "Describe [[ title ]].", key: str = "isbn", **more: Any) -> BuildPlan:
    template = gemini_request(
        PromptTemplate.parse(prompt),
        generation_config=more.pop("generation_config", None),
        media=more.pop("media", None),
    )
    return BuildPlan("gemini-2.5-flash", GENERATE_CONTENT, (key,), template, **more)


@pytest.fixture
def check(gemini_batch_stack) -> Check:
    """Run the preflight; a source that is text is read as the build reads it."""

    def check(
        source: Any,
        target: str,
        plan: BuildPlan = plan(),  # noqa: B008 - immutable
        *,
        location: str | None = None,
        **options: Any,
    ) -> list[Finding]:
        rows = parse_row_source(source) if isinstance(source, str) else source
        hook = GeminiBatchHook(location=location)
        return preflight_rows(hook, plan, rows, target=target, **options)

    return check


@pytest.fixture
def dataset(gemini_batch_stack) -> str:
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def books(gemini_batch_stack, dataset) -> str:
    return fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [BOOK])


def texts(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.severity}: {finding}" for finding in findings)


def test_pipeline_in_order_is_found_in_order(check, gemini_batch_stack, books, dataset, bucket, tmp_path):
    landed = fill(gemini_batch_stack, f"{dataset}.landed", LANDED)
    file = upload(gemini_batch_stack, bucket, "books.jsonl", [BOOK])
    folder = f"gs://{bucket}/requests"
    assert check(books, f"{dataset}.new") == []
    assert check(books, landed, plan(target=landed, media={"cover": None}), answers=SUMMARY) == []
    assert check(f"SELECT isbn, title FROM `{books[5:]}`", landed, requests=dataset) == []
    assert check(file, f"{dataset}.new", requests=folder) == []
    assert check(file, f"gs://{bucket}/landed.parquet", requests=folder) == []
    assert check([BOOK], f"{tmp_path}/new/landed.jsonl", requests=folder) == []
    assert check(lambda: iter([BOOK]), f"{dataset}.new", requests=folder) == []


def test_all_faults_are_told_at_once(check, gemini_batch_stack, books):
    elsewhere = make_dataset(gemini_batch_stack, location="europe-west4")
    asked = plan("[[ author ]]", "number", generation_config={"warmth": 1, "temperature": 9})
    found = texts(check(books, "gs://no-such-bucket/landed.parquet", asked, requests=elsewhere))
    assert 'warning: each request: this release does not know the field "warmth"' in found
    assert "key names the column 'number'" in found
    assert "the prompt or media names the column 'author'" in found
    assert "it is in europe-west4, but the job runs in us-central1" in found
    assert "error: target gs://no-such-bucket/landed.parquet: the bucket does not exist" in found
    assert found.count("error: ") == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{dataset}.nowhere", "source {dataset}.nowhere: there is no such table"),
        ("{dataset}.empty", "source {dataset}.empty: the table is empty"),
        ("SELECT * FROM `{dotted}.nowhere`", "the source query can't be read"),
        ("gs://{bucket}/nowhere.csv", "source gs://{bucket}/nowhere.csv: there is no such object"),
        ("gs://{bucket}/empty.jsonl", "source gs://{bucket}/empty.jsonl: there are no rows"),
        ("/nowhere/books.csv", "source /nowhere/books.csv: there is no such file"),
    ],
)
def test_source_that_is_not_there_yet_is_worth_another_try(
    check, gemini_batch_stack, dataset, bucket, source, message
):
    fill(gemini_batch_stack, f"{dataset}.empty", BOOKS)
    upload(gemini_batch_stack, bucket, "empty.jsonl", [])
    names = {"dataset": dataset, "dotted": dataset.removeprefix("bq://"), "bucket": bucket}
    requests = f"gs://{bucket}/requests" if "gs:" in source or "/nowhere/" in source else dataset
    (finding,) = check(source.format(**names), f"{dataset}.landed", requests=requests)
    assert message.format(**names) in str(finding)
    assert (finding.severity, finding.retryable) == ("error", True)


def test_query_that_is_refused_is_not_worth_another_try(check, dataset):
    (finding,) = check("SELECT isbn, FROM WHERE", f"{dataset}.landed", requests=dataset)
    assert "BigQuery can't make requests of the source query" in finding.message
    assert not finding.retryable


def test_query_is_held_against_key_and_prompt(check, books, dataset):
    found = texts(check(f"SELECT [isbn] AS isbn, 'Emma' AS title FROM `{books[5:]}`", f"{dataset}.landed"))
    assert "name a dataset" in found
    found = texts(check(f"SELECT [isbn] AS isbn, title FROM `{books[5:]}`", f"{dataset}.a", requests=dataset))
    assert "the key column 'isbn' of the query is of type ARRAY, which can't be a key" in found


def test_view_is_not_read(check, gemini_batch_stack, books, dataset, monkeypatch):
    bigquery_client(gemini_batch_stack).query_and_wait(
        f"CREATE VIEW `{dataset[5:]}.view` AS SELECT * FROM `{books[5:]}`"
    )
    monkeypatch.setattr(Tables, "first_rows", None)
    assert check(f"{dataset}.view", f"{dataset}.landed") == []
    assert "author" in texts(check(f"{dataset}.view", f"{dataset}.landed", plan("[[ author ]]")))


def test_first_rows_that_cannot_be_requests_are_warnings(check, gemini_batch_stack, dataset, bucket):
    rows = [BOOK, {**BOOK, "isbn": None}, {**BOOK, "isbn": "978-1", "title": ""}]
    table = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
    file = upload(gemini_batch_stack, bucket, "books.jsonl", rows)
    for source, requests in ((table, dataset), (file, f"gs://{bucket}/requests")):
        found = check(source, f"{dataset}.landed", plan("[[ title ]]"), requests=requests)
        assert sorted(finding.message for finding in found) == ["the key is NULL", "the prompt is empty"]
        assert {finding.severity for finding in found} == {"warning"}


def test_file_that_is_no_json_lines_is_named(check, gemini_batch_stack, bucket, tmp_path, dataset):
    (tmp_path / "books.jsonl").write_text(json.dumps([BOOK]))
    found = texts(check(f"{tmp_path}/books.jsonl", f"{dataset}.landed", requests=f"gs://{bucket}/requests"))
    assert "line 1: a JSON array" in found


def test_iterator_is_left_to_the_build(check, bucket, dataset):
    rows = iter([BOOK])
    (finding,) = check(rows, f"{dataset}.landed", requests=f"gs://{bucket}/requests")
    assert finding.severity == "warning"
    assert next(rows) == BOOK


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"isbn": "STRING", "summary": "STRING"}, f"has no column '{FINGERPRINT_COLUMN}'"),
        ({"number": "STRING", FINGERPRINT_COLUMN: "STRING"}, "has no column 'isbn', which the key names"),
        (
            {**LANDED, "summary": "INT64"},
            "the column 'summary' is INT64 there, and what lands in it is STRING",
        ),
    ],
)
def test_target_that_does_not_fit_is_told(check, gemini_batch_stack, books, dataset, columns, message):
    landed = fill(gemini_batch_stack, f"{dataset}.landed", columns)
    assert message in texts(check(books, landed, plan(target=landed), answers=SUMMARY))


def test_table_of_failures_is_held_against_its_own_columns(check, gemini_batch_stack, books, dataset):
    failed = fill(gemini_batch_stack, f"{dataset}.failed", {"isbn": "STRING", "message": "INT64"})
    message = (AnswerColumn("outcome", "INT64"),)
    found = texts(check(books, f"{dataset}.landed", failed_target=failed, answers=message))
    assert "the column 'message' is INT64 there, and what lands in it is STRING" in found
    assert "outcome" not in found


def test_fingerprints_are_looked_for_in_files_too(check, gemini_batch_stack, bucket):
    landed = upload(gemini_batch_stack, bucket, "landed.jsonl", [{"isbn": "978-0"}])
    assert f"has no column '{FINGERPRINT_COLUMN}'" in texts(check([BOOK], landed, plan(target=landed)))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "bq://demo-project.nowhere.landed",
            "target bq://demo-project.nowhere.landed: the dataset does not exist",
        ),
        (
            "bq://demo-project.nowhere",
            "target: bq://demo-project.nowhere is a dataset, not a table: add the table's name",
        ),
        ("s3://bucket/landed.parquet", "unknown scheme s3://"),
        (
            "/dev/null/landed.jsonl",
            "target /dev/null/landed.jsonl: this worker can't create files in /dev/null",
        ),
    ],
)
def test_target_that_cannot_be_is_told(check, books, target, message):
    assert message in texts(check(books, target))


def test_target_of_files_may_lie_anywhere_and_that_of_tables_may_not(
    check, gemini_batch_stack, books, bucket
):
    target = f"{make_dataset(gemini_batch_stack, location='EU')}.landed"
    assert check([BOOK], target, requests=f"gs://{bucket}/requests") == []
    assert "it is in the multi-region EU" in texts(check(books, target))


def test_missing_write_permission_is_reported(check, gemini_batch_stack, bucket, dataset, monkeypatch):
    landed = fill(gemini_batch_stack, f"{dataset}.landed", LANDED)
    monkeypatch.setattr(StorageObjects, "may_write", lambda *_: False)
    monkeypatch.setattr(Tables, "may_write", lambda *_: False)
    found = texts(check([BOOK], landed, requests=f"gs://{bucket}/requests"))
    lacks = "the connection's account lacks the permission"
    assert f"error: requests gs://{bucket}/requests: {lacks} storage.objects.create" in found
    assert f"error: target {landed}: {lacks} bigquery.tables.updateData" in found


def test_what_cannot_be_asked_is_a_warning(check, books, dataset, monkeypatch):
    def forbidden(*_: object) -> None:
        raise Forbidden("no bigquery.datasets.get")

    monkeypatch.setattr(Tables, "dataset_location", forbidden)
    found = check(books, f"{dataset}.landed")
    assert {finding.severity for finding in found} == {"warning"}
    assert "could not be checked: 403 no bigquery.datasets.get" in texts(found)
