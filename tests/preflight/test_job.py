"""The preflight with the real clients, against the local servers."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.core.defaults import SAMPLE_ROWS
from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.jobs.submission import JobRequest
from airflow_gemini_batch.preflight.findings import Finding
from airflow_gemini_batch.preflight.job import JobChecks, preflight
from tests.support.requests_data import BAD_REQUEST, request, storage_client, upload
from tests.support.tables import bigquery_client, fill, make_dataset

GOOD = request("Hello")
COLUMNS = {"isbn": "STRING", "request": "JSON"}
ROW = {"isbn": "978-0", **GOOD}

Check = Callable[..., list[Finding]]


@pytest.fixture
def check(gemini_batch_stack) -> Check:
    """Run the preflight; addresses are given as text."""

    def check(
        *sources: str,
        destination: str | None = None,
        family: ModelFamily = GENERATE_CONTENT,
        location: str | None = None,
        **options: Any,
    ) -> list[Finding]:
        return preflight(
            GeminiBatchHook(location=location),
            sources=[parse_address(source) for source in sources],
            destination=parse_address(destination) if destination else None,
            family=family,
            **options,
        )

    return check


@pytest.fixture
def dataset(gemini_batch_stack) -> str:
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def put(gemini_batch_stack, bucket) -> Callable[[str, bytes], str]:
    """Write an object into the test's bucket and return its address."""

    def put(name: str, content: bytes) -> str:
        storage_client(gemini_batch_stack).bucket(bucket).blob(name).upload_from_string(content)
        return f"gs://{bucket}/{name}"

    return put


def texts(findings: list[Finding]) -> str:
    return "\n".join(f"{finding.severity}: {finding}" for finding in findings)


def test_job_in_order_is_found_in_order(check, gemini_batch_stack, bucket, dataset):
    file = upload(gemini_batch_stack, bucket, "requests.jsonl", [GOOD, GOOD])
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW])
    assert check(file) == []
    assert check(file, destination=f"gs://{bucket}/out") == []
    assert check(file, destination=f"{dataset}.answers") == []
    assert check(table) == []
    assert check(table, destination=dataset) == []
    assert check(table, destination=f"gs://{bucket}/out") == []


def test_text_requests_in_a_table_are_checked_too(check, gemini_batch_stack, dataset):
    rows = [{"request": json.dumps(GOOD["request"])}, {"request": json.dumps(BAD_REQUEST["request"])}]
    table = fill(gemini_batch_stack, f"{dataset}.requests", {"request": "STRING"}, rows)
    whole, bad = check(table)
    assert "1 of 2 checked requests would be rejected" in whole.message
    assert "Please use a valid role" in bad.message


def test_share_of_bad_rows_decides(check, gemini_batch_stack, bucket):
    file = upload(gemini_batch_stack, bucket, "requests.jsonl", [BAD_REQUEST, *[GOOD] * 3])
    assert {one.severity for one in check(file, max_failed_fraction=0.5)} == {"warning"}
    assert {one.severity for one in check(file, max_failed_fraction=0.2)} == {"error"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pretty.jsonl", json.dumps(GOOD, indent=2).encode(), "line 1: the file is pretty-printed"),
        (
            "packed.jsonl.gz",
            gzip.compress(b"{}", mtime=0),
            "compressed with gzip, which Vertex AI does not read",
        ),
        ("cut.jsonl.gz", gzip.compress(b"{}" * 99, mtime=0)[:-9], "compressed with gzip"),
        ("empty.jsonl", b"", "there are no requests"),
        ("blank.jsonl", b"\n\n", "there are no requests"),
        ("broken.jsonl", b'{"request": {}}\noops\n', "line 2: column 1: not JSON"),
    ],
)
def test_broken_file_is_named_with_its_address(check, put, name, content, message):
    source = put(name, content)
    found = texts(check(source))
    assert message in found
    assert source in found or "checked" in found


def test_all_faults_are_told_at_once(check, put):
    source = put("requests.jsonl", b"oops\n")
    found = texts(check(source, "gs://no-such-bucket/requests.jsonl", location="europe-west4"))
    assert "it is in us-central1, but the job runs in europe-west4" in found
    assert "gs://no-such-bucket/requests.jsonl: there is no such object" in found
    found = texts(check(source, destination="gs://no-such-bucket/out", location="europe-west4"))
    assert "it is in us-central1" in found
    assert "line 1: column 1: not JSON" in found
    assert "destination gs://no-such-bucket/out: the bucket does not exist" in found


def test_files_of_a_pattern_are_all_looked_at(check, gemini_batch_stack, bucket):
    for number in range(3):
        rows = [GOOD, BAD_REQUEST] if number == 2 else [GOOD]
        upload(gemini_batch_stack, bucket, f"part-{number}.jsonl", rows)
    found = texts(check(f"gs://{bucket}/part-*.jsonl"))
    assert "1 of 4 checked requests" in found
    assert f"gs://{bucket}/part-2.jsonl, line 2: Please use a valid role" in found


def test_no_more_of_a_large_file_is_read_than_the_sample(check, put):
    line = json.dumps(GOOD).encode() + b"\n"
    source = put("requests.jsonl", line * SAMPLE_ROWS + b"oops\n")
    assert check(source) == []


def test_too_many_requests_are_counted(check, put, monkeypatch):
    monkeypatch.setattr(ModelFamily, "max_rows", SAMPLE_ROWS)
    line = json.dumps(GOOD).encode() + b"\n"
    assert check(put("many.jsonl", line * SAMPLE_ROWS)) == []
    (finding,) = check(put("too-many.jsonl", line * (SAMPLE_ROWS + 1)))
    assert "1,001 requests are more than the 1,000" in finding.message


def test_too_many_rows_of_a_table_are_told(check, gemini_batch_stack, dataset, monkeypatch):
    monkeypatch.setattr(ModelFamily, "max_rows", 2)
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW] * 3)
    (finding,) = check(table)
    assert "3 requests are more than the 2" in finding.message


@pytest.mark.parametrize(
    ("location", "job", "expected"),
    [
        (
            "europe-west4",
            "us-central1",
            "error: dataset {0}: it is in europe-west4, but the job runs in us-central1",
        ),
        ("US", "us-central1", "error: dataset {0}: it is in the multi-region US"),
        ("us-central1", "global", "warning: dataset {0}: it is in us-central1, but the job runs in global"),
    ],
)
def test_location_of_a_dataset_is_held_against_the_job(check, gemini_batch_stack, location, job, expected):
    dataset = make_dataset(gemini_batch_stack, location)
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW])
    found = texts(check(table, location=job))
    assert expected.format(dataset.removeprefix("bq://")) in found


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": "STRING"}, "there is no column 'request' (JSON or STRING)"),
        (
            {"request": "JSON", "sold": "DATETIME", "status": "STRING"},
            "'sold' has the unsupported type DATETIME",
        ),
        ({"request": "JSON", "sold": "DATETIME", "status": "STRING"}, "'status' has a reserved name"),
    ],
)
def test_columns_of_a_table_are_checked(check, gemini_batch_stack, dataset, columns, message):
    rows = [{name: json.dumps(GOOD["request"]) if name != "sold" else None for name in columns}]
    table = fill(gemini_batch_stack, f"{dataset}.requests", columns, rows)
    found = texts(check(table))
    assert f"error: source {table}: " in found
    assert message in found


def test_column_of_the_texts_is_checked_for_embeddings(check, gemini_batch_stack, dataset):
    columns = {"content": "STRING", "title": "STRING", "seen": "DATETIME"}
    rows = [{"content": "A book", "title": None, "seen": None}, {"content": "", "title": None, "seen": None}]
    table = fill(gemini_batch_stack, f"{dataset}.texts", columns, rows)
    whole, bad = check(table, family=TEXT_EMBEDDING)
    assert ("1 of 2" in whole.message, bad.message) == (True, "The text content is empty.")


def test_view_is_refused(check, gemini_batch_stack, dataset):
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW])
    view = f"{dataset}.seen".removeprefix("bq://")
    bigquery_client(gemini_batch_stack).query_and_wait(
        f"CREATE VIEW `{view}` AS SELECT * FROM `{table.removeprefix('bq://')}`"
    )
    assert "is a view, and a job reads tables only" in texts(check(f"bq://{view}"))


def test_missing_and_empty_tables_are_named(check, gemini_batch_stack, dataset):
    assert f"source {dataset}.nothing: there is no such table" in texts(check(f"{dataset}.nothing"))
    empty = fill(gemini_batch_stack, f"{dataset}.empty", COLUMNS)
    assert f"source {empty}: the table is empty" in texts(check(empty))


def test_destination_that_can_t_be_written_is_named(check, gemini_batch_stack, dataset):
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW])
    assert "the table already exists" in texts(check(table, destination=table))
    nowhere = "bq://demo-project.no_such_dataset.answers"
    assert "no_such_dataset does not exist" in texts(check(table, destination=nowhere))


def test_tables_are_refused_where_the_model_reads_files_only(check, gemini_batch_stack, bucket, dataset):
    line = {"key": "1", "request": {"content": {"parts": [{"text": "A book"}]}}}
    file = upload(gemini_batch_stack, bucket, "texts.jsonl", [line])
    gemini = GEMINI_EMBEDDING
    assert check(file, family=gemini) == []
    (finding,) = check(file, destination=f"{dataset}.vectors", family=gemini)
    assert str(finding).startswith(
        f"{dataset}.vectors: gemini_embedding requests are read from and written to"
    )
    table = fill(gemini_batch_stack, f"{dataset}.texts", COLUMNS, [ROW])
    assert [one.severity for one in check(table, family=gemini)] == ["error"]


def test_location_that_may_not_be_asked_is_no_warning(check, gemini_batch_stack, bucket, monkeypatch):
    def refuse(self: StorageObjects, bucket: str) -> str:
        raise Forbidden("storage.buckets.get")

    monkeypatch.setattr(StorageObjects, "bucket_location", refuse)
    assert check(upload(gemini_batch_stack, bucket, "requests.jsonl", [GOOD])) == []


@pytest.mark.parametrize("refusal", [ServiceUnavailable("later"), ConnectionError("no route")])
def test_location_that_can_t_be_asked_is_unknown_and_no_error(
    check, gemini_batch_stack, bucket, dataset, monkeypatch, refusal
):
    def refuse(*_: Any) -> None:
        raise refusal

    monkeypatch.setattr(StorageObjects, "bucket_location", refuse)
    monkeypatch.setattr(Tables, "dataset_location", refuse)
    file = upload(gemini_batch_stack, bucket, "requests.jsonl", [GOOD])
    (finding,) = check(file)
    assert finding.severity == "warning"
    assert f"the location of bucket {bucket} could not be checked" in finding.message
    assert str(refusal) in finding.message
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW])
    assert [one.severity for one in check(table)] == ["warning"]


def test_rows_that_can_t_be_read_are_unknown_and_hide_no_other_fault(
    check, gemini_batch_stack, dataset, monkeypatch
):
    def refuse(*_: Any) -> None:
        raise Forbidden("bigquery.tables.getData")

    monkeypatch.setattr(Tables, "first_rows", refuse)
    table = fill(gemini_batch_stack, f"{dataset}.requests", COLUMNS, [ROW])
    first, second = check(table, destination=table)
    assert (first.severity, "bigquery.tables.getData" in first.message) == ("warning", True)
    assert (second.severity, "already exists" in second.message) == ("error", True)


def test_file_stored_with_a_content_encoding_is_not_guessed_at(check, gemini_batch_stack, bucket):
    blob = storage_client(gemini_batch_stack).bucket(bucket).blob("requests.jsonl")
    blob.content_encoding = "gzip"
    blob.upload_from_string(gzip.compress(json.dumps(GOOD).encode()))
    (finding,) = check(f"gs://{bucket}/requests.jsonl")
    assert (finding.severity, "Content-Encoding gzip" in finding.message) == ("warning", True)


@pytest.fixture
def check_job(gemini_batch_stack, bucket):
    """Check a job of one row, with 1,000 output tokens at most, on a day."""
    limited = request("Hello", generationConfig={"maxOutputTokens": 1000})
    source = parse_address(upload(gemini_batch_stack, bucket, "in.jsonl", [limited]))

    def check_job(
        model: str, day: date, *, preflight: bool = True, max_cost_usd: float | None = None
    ) -> None:
        checks = JobChecks(
            GeminiBatchHook(),
            GENERATE_CONTENT,
            preflight=preflight,
            max_failed_fraction=0.05,
            max_cost_usd=max_cost_usd,
            unpriced="refuse",
            today=day,
            log=logging.getLogger("checks"),
        )
        name = f"publishers/google/models/{model}"
        checks.check(JobRequest(name, (source,), parse_address(f"gs://{bucket}/out"), "describe", {}, {}))

    return check_job


# $5 a million output tokens until 30 November, then $10; a tenth more outside "global".
@pytest.mark.parametrize(
    ("day", "ceiling", "within"),
    [
        (date(2026, 11, 30), 0.006, True),
        (date(2026, 11, 30), 0.005, False),
        (date(2026, 12, 1), 0.006, False),
        (date(2026, 12, 1), 0.012, True),
        (date(2027, 4, 1), 0.006, False),
        (date(2027, 4, 1), 0.012, True),
    ],
)
def test_ceiling_of_a_job_is_compared_at_the_rates_of_the_day(check_job, day, ceiling, within):
    if within:
        check_job("gemini-4-argon", day, max_cost_usd=ceiling)
    else:
        with pytest.raises(InvalidRequestError, match="more than max_cost_usd"):
            check_job("gemini-4-argon", day, max_cost_usd=ceiling)


@pytest.mark.parametrize("day", [date(2026, 11, 30), date(2026, 12, 1)])
def test_model_that_ends_is_a_warning_before_its_end(check_job, caplog, day):
    check_job("gemini-2.5-flash", day)
    assert "Preflight: model gemini-2.5-flash: it is closed to new projects since 2026-10-20" in caplog.text


def test_retired_model_is_refused_unless_the_preflight_is_off(check_job):
    with pytest.raises(InvalidRequestError, match="Vertex AI retired it on 2027-03-31"):
        check_job("gemini-2.5-flash", date(2027, 4, 1))
    check_job("gemini-2.5-flash", date(2027, 4, 1), preflight=False)


def test_price_file_that_can_t_be_read_is_a_warning_without_a_ceiling(check_job, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW__GEMINI_BATCH__PRICE_TABLE", "no/prices.csv")
    check_job("gemini-3.8-flash", date(2026, 11, 30))
    assert "the end of the model's life could not be checked: the price file no/prices.csv" in caplog.text
