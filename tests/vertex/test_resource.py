from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState
from airflow_gemini_batch.vertex.resource import VertexJobName, filter_of, job_of, parse_time

NAME = "projects/1234567890/locations/us-central1/batchPredictionJobs/42"


def read(**fields: Any) -> BatchJob:
    return job_of({"name": NAME, "state": "JOB_STATE_RUNNING", **fields})


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("JOB_STATE_HIBERNATING", id="added-by-the-service"),
        pytest.param("SUCCEEDED", id="without-prefix"),
        pytest.param("job_state_succeeded", id="small-letters"),
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(4, id="number"),
    ],
)
def test_unknown_state_is_neither_an_end_nor_a_success(state: Any) -> None:
    found = read(state=state).state
    assert (found, found.stage.waits) == (JobState.UNSPECIFIED, True)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param(NAME, VertexJobName("1234567890", "us-central1", "42"), id="project-number"),
        pytest.param(
            "projects/example.com:my-shop/locations/global/batchPredictionJobs/a-1",
            VertexJobName("example.com:my-shop", "global", "a-1"),
            id="domain-scoped-project",
        ),
    ],
)
def test_job_name_reads_and_writes(text: str, name: VertexJobName) -> None:
    assert (VertexJobName.parse(text), str(name)) == (name, text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="none"),
        pytest.param("42", id="id-only"),
        pytest.param(f"/{NAME}", id="leading-slash"),
        pytest.param(f"{NAME}/", id="trailing-slash"),
        pytest.param("projects/1/locations//batchPredictionJobs/42", id="empty-location"),
        pytest.param("projects/1/locations/us-central1/customJobs/42", id="another-resource"),
        pytest.param(f"https://us-central1-aiplatform.googleapis.com/v1/{NAME}", id="web-address"),
    ],
)
def test_job_name_refuses_what_is_none(text: Any) -> None:
    with pytest.raises(ValueError, match="is not the name of a batch job"):
        VertexJobName.parse(text)


def test_console_url_names_job_location_and_project() -> None:
    assert VertexJobName.parse(NAME).console_url == (
        "https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/42?project=1234567890"
    )


def test_job_reads_a_whole_resource() -> None:
    job = job_of(
        {
            "name": NAME,
            "displayName": "nightly 0123",
            "model": "publishers/google/models/gemini-2.5-flash",
            "labels": {"gemini_batch_id": "0123"},
            "state": "JOB_STATE_PARTIALLY_SUCCEEDED",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://books/in.jsonl"]}},
            "outputInfo": {"gcsOutputDirectory": "gs://books/out/prediction-model-2025"},
            "error": {"code": 8, "message": "quota", "details": [{"@type": "x", "reason": {"a": 1}}]},
            "partialFailures": [{"code": 8}],
            "completionStats": {"successfulCount": "9", "failedCount": "1", "incompleteCount": "-1"},
            "createTime": "2025-12-19T07:32:47.279859Z",
            "startTime": "2025-12-19T07:33:00Z",
            "endTime": "2025-12-19T08:00:00.5Z",
            "updateTime": "2025-12-19T08:00:01Z",
            "somethingNew": {"a": [1]},
        }
    )
    assert job == BatchJob(
        name=VertexJobName("1234567890", "us-central1", "42"),
        state=JobState.PARTIALLY_SUCCEEDED,
        display_name="nightly 0123",
        model="publishers/google/models/gemini-2.5-flash",
        labels={"gemini_batch_id": "0123"},
        requests=("gs://books/in.jsonl",),
        output=GcsAddress("books", "out/prediction-model-2025"),
        error=JobError(8, "quota"),
        successful_count=9,
        failed_count=1,
        create_time=datetime(2025, 12, 19, 7, 32, 47, 279859, tzinfo=UTC),
        start_time=datetime(2025, 12, 19, 7, 33, tzinfo=UTC),
        end_time=datetime(2025, 12, 19, 8, 0, 0, 500000, tzinfo=UTC),
    )


LEAST = BatchJob(name=VertexJobName.parse(NAME), state=JobState.UNSPECIFIED)


def test_job_reads_the_least_there_can_be() -> None:
    assert job_of({"name": NAME}) == LEAST


@pytest.mark.parametrize(
    "fields",
    [
        {"displayName": None},
        {"model": None},
        {"labels": None},
        {"state": None},
        {"outputInfo": None},
        {"outputInfo": {"gcsOutputDirectory": None}},
        {"outputInfo": {"bigqueryOutputDataset": None, "bigqueryOutputTable": None}},
        {"inputConfig": None},
        {"inputConfig": {"gcsSource": None, "bigquerySource": None}},
        {"error": None},
        {"completionStats": None},
        {"completionStats": {"successfulCount": None, "failedCount": None}},
        {"createTime": None, "startTime": None, "endTime": None},
    ],
    ids=str,
)
def test_null_reads_as_left_out(fields: dict[str, Any]) -> None:
    assert job_of({"name": NAME, **fields}) == LEAST


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param({}, id="empty"),
        pytest.param({"state": "JOB_STATE_SUCCEEDED"}, id="without-name"),
        pytest.param({"name": None}, id="null-name"),
        pytest.param({"name": "operations/7", "done": True}, id="an-operation"),
        pytest.param({"error": {"code": 404, "message": "x"}}, id="an-error"),
    ],
)
def test_job_refuses_what_is_no_job(resource: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is not the name of a batch job"):
        job_of(resource)


def test_job_reads_the_table_that_a_job_reads() -> None:
    config = {"instancesFormat": "bigquery", "bigquerySource": {"inputUri": "bq://my-shop.books.requests"}}
    assert job_of({"name": NAME, "inputConfig": config}).requests == ("bq://my-shop.books.requests",)


@pytest.mark.parametrize(
    ("info", "output"),
    [
        pytest.param({}, None, id="none-yet"),
        pytest.param({"gcsOutputDirectory": ""}, None, id="empty"),
        pytest.param({"gcsOutputDirectory": "gs://books/out/p"}, GcsAddress("books", "out/p"), id="folder"),
        pytest.param(
            {"bigqueryOutputDataset": "bq://my-shop.books", "bigqueryOutputTable": "rows"},
            BigQueryAddress("my-shop", "books", "rows"),
            id="bare-table",
        ),
        pytest.param(
            {"bigqueryOutputDataset": "bq://my-shop.books", "bigqueryOutputTable": "bq://my-shop.books.rows"},
            BigQueryAddress("my-shop", "books", "rows"),
            id="table-as-address",
        ),
        pytest.param(
            {"bigqueryOutputTable": "bq://my-shop.books.rows"},
            BigQueryAddress("my-shop", "books", "rows"),
            id="table-as-address-alone",
        ),
        pytest.param(
            {"bigqueryOutputDataset": "my-shop.books", "bigqueryOutputTable": "rows"},
            BigQueryAddress("my-shop", "books", "rows"),
            id="dataset-without-scheme",
        ),
        pytest.param(
            {"bigqueryOutputDataset": "bq://my-shop.books"},
            BigQueryAddress("my-shop", "books"),
            id="dataset-only",
        ),
        pytest.param(
            {"bigqueryOutputDataset": "bq://example.com:my-shop.books", "bigqueryOutputTable": "rows"},
            BigQueryAddress("example.com:my-shop", "books", "rows"),
            id="domain-scoped-project",
        ),
        # The resource's own name holds the project's number, so its other fields may as well.
        pytest.param(
            {"bigqueryOutputDataset": "bq://1234567890.books", "bigqueryOutputTable": "rows"},
            BigQueryAddress("1234567890", "books", "rows"),
            id="project-number",
        ),
    ],
)
def test_output_is_read_in_every_shape(info: dict[str, str], output: Address | None) -> None:
    assert read(outputInfo=info).output == output


@pytest.mark.parametrize(
    ("value", "count"),
    [
        pytest.param("7", 7, id="int64-as-text"),
        pytest.param(7, 7, id="number"),
        pytest.param("0", 0, id="zero-is-known"),
        pytest.param(0, 0, id="zero-as-number-is-known"),
        pytest.param("9007199254740993", 9007199254740993, id="larger-than-a-double-holds"),
        pytest.param("-1", None, id="unknown"),
        pytest.param(-1, None, id="unknown-as-number"),
        pytest.param(None, None, id="null"),
    ],
)
def test_counts_are_numbers_or_unknown(value: Any, count: int | None) -> None:
    job = read(completionStats={"successfulCount": value, "failedCount": value})
    assert (job.successful_count, job.failed_count) == (count, count)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param({"code": 3, "message": "no such dataset"}, "[code 3] no such dataset", id="status"),
        pytest.param({"message": "INTERNAL"}, "[code 0] INTERNAL", id="without-code"),
        pytest.param({"code": 13}, "[code 13] ", id="without-message"),
        pytest.param({}, "None", id="empty"),
    ],
)
def test_error_is_read_from_what_there_is(error: dict[str, Any], text: str) -> None:
    assert str(read(error=error).error) == text


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        pytest.param("2025-01-02T03:04:05Z", 0, id="no-decimals"),
        pytest.param("2025-01-02T03:04:05.1Z", 100000, id="one-decimal"),
        pytest.param("2025-01-02T03:04:05.123Z", 123000, id="three-decimals"),
        pytest.param("2025-01-02T03:04:05.123456Z", 123456, id="six-decimals"),
        pytest.param("2025-01-02T03:04:05.123456789Z", 123456, id="nanoseconds"),
        pytest.param("2025-01-02T03:04:05.999999999Z", 999999, id="nanoseconds-are-cut-not-rounded"),
        pytest.param("2025-01-02T03:04:05.123456789+00:00", 123456, id="zero-offset"),
        pytest.param("2025-01-02T05:04:05.5+02:00", 500000, id="other-offset"),
    ],
)
def test_time_is_read_as_utc(text: str, microsecond: int) -> None:
    time = parse_time(text)
    assert time == datetime(2025, 1, 2, 3, 4, 5, microsecond, tzinfo=UTC)
    assert time.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", [None, ""])
def test_no_time_is_none(text: str | None) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize("text", ["yesterday", "1735787045"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="isoformat"):
        parse_time(text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        pytest.param(JobQuery(), "", id="all"),
        pytest.param(JobQuery(labels={"team": "books"}), 'labels.team="books"', id="label"),
        pytest.param(JobQuery(labels={"team": ""}), 'labels.team=""', id="empty-value"),
        pytest.param(
            JobQuery(labels={"b": "2", "a": "1"}), 'labels.a="1" AND labels.b="2"', id="labels-sorted"
        ),
        pytest.param(
            JobQuery(created=(datetime(2025, 11, 30, 22, 59, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC))),
            'create_time>="2025-11-30T22:59:00Z" AND create_time<="2025-12-01T00:00:00Z"',
            id="creation",
        ),
    ],
)
def test_filter_holds_all_conditions(query: JobQuery, text: str) -> None:
    assert filter_of(query) == text


def test_filter_leaves_out_exactly_the_states_that_nobody_waits_in() -> None:
    terms = filter_of(JobQuery(unfinished=True)).split(" AND ")
    assert all(term.startswith('state!="') for term in terms)
    left_out = {term.removeprefix('state!="').removesuffix('"') for term in terms}
    assert left_out == {state.value for state in JobState if not state.stage.waits}
