from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.jobs.client import ALL_JOBS, JobQuery, ListedJob
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.vertex import rest
from airflow_gemini_batch.vertex.resource import VertexJobName

NAME = VertexJobName("my-shop", "us-central1", "42")
PARENT = NAME.parent
JOB = {"name": str(NAME), "state": "JOB_STATE_RUNNING"}
BASE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("us-central1", "https://us-central1-aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
        ("us", "https://aiplatform.us.rep.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_service_has_an_address_for_each_location(location: str, url: str) -> None:
    assert rest.service_url(location) == url


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(NAME, "projects/my-shop/locations/us-central1/batchPredictionJobs/42", id="plain"),
        pytest.param(
            VertexJobName("example.com:my-shop", "global", "42"),
            "projects/example.com:my-shop/locations/global/batchPredictionJobs/42",
            id="domain-scoped-project",
        ),
    ],
)
def test_job_has_one_address(name: VertexJobName, path: str) -> None:
    assert rest.job_url(BASE, name) == f"{BASE}/v1/{path}"


@pytest.mark.parametrize(
    ("labels", "token", "parameters"),
    [
        pytest.param({}, "", {"pageSize": "100"}, id="first-page-of-all"),
        pytest.param({"a": "b"}, "", {"pageSize": "100", "filter": 'labels.a="b"'}, id="filtered"),
        pytest.param(
            {"a": "b"},
            "t",
            {"pageSize": "100", "filter": 'labels.a="b"', "pageToken": "t"},
            id="next-page",
        ),
    ],
)
def test_list_always_asks_for_a_page_size(
    labels: dict[str, str], token: str, parameters: dict[str, str]
) -> None:
    assert rest.list_parameters(JobQuery(labels=labels), token) == parameters


def test_list_asks_for_the_page_size_given() -> None:
    assert rest.list_parameters(ALL_JOBS, "", 7) == {"pageSize": "7"}


def test_job_is_read() -> None:
    assert rest.read_job("reading", json.dumps(JOB).encode(), PARENT) == BatchJob(NAME, JobState.RUNNING)


# What came with a 200 and is no job, or no page of jobs.
NEITHER = [
    pytest.param(b"", "an empty body", id="empty"),
    pytest.param(b" \n", "an empty body", id="blank"),
    pytest.param(b"<html>Sorry</html>", "<html>Sorry</html>", id="html"),
    pytest.param(b'{"name": "projects/', '{"name": "projects/', id="cut-off"),
    pytest.param(b"\xff\xfe{}", "\ufffd\ufffd{}", id="not-utf-8"),
    pytest.param(b"null", "null", id="null"),
    pytest.param(b"[]", "[]", id="list"),
    pytest.param(b'"ok"', '"ok"', id="text"),
    pytest.param(b"7", "7", id="number"),
]


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        *NEITHER,
        pytest.param(b"{}", "{}", id="empty-object"),
        pytest.param(b'{"name": 5}', '{"name": 5}', id="number-for-the-name"),
        pytest.param(b'{"name": "operations/7"}', "operations/7", id="operation"),
        pytest.param(
            json.dumps({**JOB, "createTime": "yesterday"}).encode(), "yesterday", id="time-that-is-none"
        ),
    ],
)
def test_body_that_is_no_job_is_an_error_that_may_pass(body: bytes, quoted: str) -> None:
    with pytest.raises(VertexApiError, match=re.escape(quoted)) as caught:
        rest.read_job("reading 42", body, PARENT)
    assert (caught.value.code, caught.value.transient) == (200, True)
    assert str(caught.value).startswith("reading 42: Vertex AI answered 200")


@pytest.mark.parametrize(
    ("page", "jobs", "token"),
    [
        pytest.param({}, [], "", id="empty"),
        pytest.param({"batchPredictionJobs": []}, [], "", id="no-jobs"),
        pytest.param({"batchPredictionJobs": [JOB]}, [NAME], "", id="last-page"),
        pytest.param({"batchPredictionJobs": [JOB, JOB], "nextPageToken": "t"}, [NAME, NAME], "t", id="page"),
        pytest.param({"nextPageToken": "t"}, [], "t", id="empty-page-with-more-to-come"),
    ],
)
def test_page_is_read(page: dict[str, Any], jobs: list[VertexJobName], token: str) -> None:
    jobs_read, next_token = rest.read_page("listing", json.dumps(page).encode(), PARENT)
    assert ([job.read().name for job in jobs_read], next_token) == (jobs, token)
    assert {job.job_id for job in jobs_read} == {name.job_id for name in jobs}


def listed(resource: dict[str, Any]) -> ListedJob:
    (job,), _ = rest.read_page("listing", json.dumps({"batchPredictionJobs": [resource]}).encode(), PARENT)
    return job


RUNNING = {"name": str(NAME), "state": "JOB_STATE_RUNNING", "startTime": "2025-11-30T23:00:00Z"}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        pytest.param({}, False, id="same"),
        pytest.param({"updateTime": "later"}, False, id="other-fields"),
        pytest.param({"state": "JOB_STATE_SUCCEEDED"}, True, id="state"),
        pytest.param({"startTime": None}, True, id="start"),
        pytest.param({"completionStats": {"successfulCount": "7"}}, True, id="counts"),
        pytest.param({"completionStats": {"incompleteCount": "-1"}}, False, id="unknown-counts"),
    ],
)
def test_state_start_and_counts_are_the_progress_of_a_job(change: dict[str, Any], changed: bool) -> None:
    before, after = listed(RUNNING), listed({**RUNNING, **change})
    assert (before.progress != after.progress) is changed


def test_listed_job_that_cannot_be_read_is_an_error_that_may_pass() -> None:
    job = listed({"name": "operations/7"})
    with pytest.raises(VertexApiError, match=r"^listing: .*operations/7") as caught:
        job.read()
    assert caught.value.transient


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        *NEITHER,
        pytest.param(b'{"batchPredictionJobs": [{}]}', "batchPredictionJobs", id="job-without-name"),
        pytest.param(b'{"batchPredictionJobs": [null]}', "null", id="null-job"),
        pytest.param(b'{"batchPredictionJobs": 5}', "5", id="number-for-the-jobs"),
        pytest.param(b'{"batchPredictionJobs": null}', "null", id="null-for-the-jobs"),
        pytest.param(b'{"error": {"code": 503, "message": "later"}}', "later", id="error"),
    ],
)
def test_body_that_is_no_page_is_an_error_that_may_pass(body: bytes, quoted: str) -> None:
    # An unreadable list must never pass for an empty one: a second job would be paid.
    with pytest.raises(VertexApiError, match=re.escape(quoted)) as caught:
        rest.read_page("listing", body, PARENT)
    assert caught.value.transient


def test_long_bodies_are_quoted_in_part() -> None:
    with pytest.raises(VertexApiError) as caught:
        rest.read_job("reading", b"<html>" + b"x" * 10_000, PARENT)
    assert str(caught.value).endswith("x…")
    assert len(str(caught.value)) < 500


def test_only_200_is_an_answer() -> None:
    rest.check_status("reading", 200, b"whatever")


@pytest.mark.parametrize(
    ("status", "transient", "retryable"),
    [
        (204, True, True),
        (302, True, True),
        (400, False, False),
        (401, False, True),
        (403, False, True),
        (404, False, False),
        (408, True, True),
        (409, True, True),
        (429, True, True),
        (500, True, True),
        (503, True, True),
    ],
)
def test_other_statuses_are_errors_of_their_kind(status: int, transient: bool, retryable: bool) -> None:
    body = json.dumps({"error": {"code": status, "message": "no luck", "status": "REASON"}}).encode()
    with pytest.raises(VertexApiError) as caught:
        rest.check_status("reading 42", status, body)
    error = caught.value
    assert str(error) == f"reading 42: Vertex AI answered {status} REASON: no luck"
    assert (error.code, error.reason, error.transient, error.retryable) == (
        status,
        "REASON",
        transient,
        retryable,
    )


@pytest.mark.parametrize(
    ("body", "message", "reason"),
    [
        pytest.param(
            b'{"error": {"code": 404, "message": "no job", "status": "NOT_FOUND"}}',
            "no job",
            "NOT_FOUND",
            id="envelope",
        ),
        pytest.param(
            b'[{"error": {"code": 404, "message": "no job", "status": "NOT_FOUND"}}]',
            "no job",
            "NOT_FOUND",
            id="list",
        ),
        pytest.param(b'{"error": {"message": "no job"}}', "no job", "", id="no-status"),
        pytest.param(b'{"error": {"message": "no job", "status": null}}', "no job", "", id="null-status"),
        pytest.param('{"error": {"message": "本"}}'.encode(), "本", "", id="unicode"),
        pytest.param(b'{"error": {"code": 500}}', '{"error": {"code": 500}}', "", id="no-message"),
        pytest.param(b'{"error": "invalid_grant"}', '{"error": "invalid_grant"}', "", id="error-as-text"),
        pytest.param(b'{"message": "x"}', '{"message": "x"}', "", id="no-envelope"),
        pytest.param(b"[]", "[]", "", id="empty-list"),
        pytest.param(b"<html>502</html>\n", "<html>502</html>", "", id="html"),
        pytest.param(b"\xff", "\ufffd", "", id="not-utf-8"),
        pytest.param(b"", "an empty answer", "", id="empty"),
        pytest.param(b" \n", "an empty answer", "", id="blank"),
    ],
)
def test_error_is_read_in_every_shape(body: bytes, message: str, reason: str) -> None:
    assert rest.error_of(body) == (message, reason)


def test_long_errors_are_quoted_in_part() -> None:
    message, _ = rest.error_of(b"<html>" + b"x" * 10_000)
    assert len(message) <= 301
