"""BatchJobClient over real HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.client import BatchJobClient
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import HERE, job_request, make_client, seed, wait_for

PARENT = "/v1/projects/demo-project/locations/us-central1/batchPredictionJobs"

# Faults of a call after which nobody knows whether it had an effect, with the status that is told.
NO_ANSWER = [
    pytest.param("error", {"status": "UNAVAILABLE"}, 503, id="503"),
    pytest.param("error", {"status": "INTERNAL"}, 500, id="500"),
    pytest.param("error", {"status": "RESOURCE_EXHAUSTED"}, 429, id="429"),
    pytest.param("error_after", {"status": "UNAVAILABLE"}, 503, id="503-though-it-worked"),
    pytest.param("drop_before", {}, None, id="dropped-before"),
    pytest.param("drop_after", {}, None, id="dropped-after"),
]
UNREADABLE = [pytest.param("empty_answer", id="empty"), pytest.param("html_answer", id="html")]


def resource(vertex: LocalVertex, name: VertexJobName) -> dict[str, Any]:
    """Read a job as the server shows it."""
    answer = requests.get(f"{vertex.url}/v1/{name}", headers={"Authorization": "Bearer token"}, timeout=10)
    content: dict[str, Any] = answer.json()
    return content


def test_create_sends_one_call_and_returns_the_job(vertex, client, bucket):
    created = client.create(job_request(bucket))
    assert vertex.requests.counts == {"create": 1}
    assert created.state is JobState.PENDING
    found = client.get(created.name)
    assert (found.display_name, found.labels) == ("nightly.describe", {"team": "bookshop"})
    assert created.create_time == found.create_time is not None


def test_create_sends_everything_that_was_asked_for(vertex, client, bucket):
    sources = tuple(parse_address(f"gs://{bucket}/{name}") for name in ("one.jsonl", "more-*.jsonl"))
    request = job_request(bucket, requests=sources, model_parameters={"temperature": 0.5})
    shown = resource(vertex, client.create(request).name)
    assert shown["model"] == request.model
    assert shown["inputConfig"] == {
        "instancesFormat": "jsonl",
        "gcsSource": {"uris": [f"gs://{bucket}/one.jsonl", f"gs://{bucket}/more-*.jsonl"]},
    }
    assert shown["outputConfig"] == {
        "predictionsFormat": "jsonl",
        "gcsDestination": {"outputUriPrefix": f"gs://{bucket}/out"},
    }
    assert shown["modelParameters"] == {"temperature": 0.5}


def test_two_creates_do_not_mix(vertex, client, bucket):
    one, two = (client.create(job_request(bucket, labels={"number": str(n)})) for n in (1, 2))
    assert one.name != two.name
    assert [resource(vertex, job.name)["labels"] for job in (one, two)] == [{"number": "1"}, {"number": "2"}]


@pytest.mark.parametrize(("fault", "arguments", "code"), NO_ANSWER)
def test_create_without_an_answer_is_never_sent_twice(vertex, client, bucket, fault, arguments, code):
    vertex.faults.plan(fault, on="create", times=None, **arguments)
    with pytest.raises(VertexApiError, match=r"creating the job 'nightly\.describe'") as caught:
        client.create(job_request(bucket))
    assert (caught.value.code, caught.value.transient) == (code, True)
    assert vertex.requests.counts == {"create": 1}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_create_with_an_unreadable_answer_is_never_sent_twice(vertex, client, bucket, fault):
    vertex.faults.plan(fault, on="create", times=None)
    with pytest.raises(
        VertexApiError, match=r"creating the job 'nightly\.describe': no readable answer"
    ) as caught:
        client.create(job_request(bucket))
    assert caught.value.transient
    assert vertex.requests.counts == {"create": 1}


def test_create_that_is_not_answered_in_time_is_never_sent_twice(vertex, bucket):
    client = make_client(vertex, read_timeout=0.2)
    vertex.faults.plan("delay_after", on="create", times=None, seconds=0.5)
    with pytest.raises(VertexApiError, match="no readable answer") as caught:
        client.create(job_request(bucket))
    assert caught.value.transient
    assert vertex.requests.counts == {"create": 1}


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        pytest.param(
            {"model": "publishers/google/models/no-such-model"}, None, "no-such-model", id="unknown-model"
        ),
        pytest.param({"labels": {"Capital": "x"}}, 400, "Capital", id="illegal-label"),
        pytest.param(
            {"model": "projects/demo-project/locations/us-central1/endpoints/1"},
            400,
            "Invalid model resource name",
            id="endpoint",
        ),
    ],
)
def test_create_that_is_refused_says_why_and_is_final(vertex, client, bucket, changes, code, message):
    with pytest.raises(VertexApiError, match=message) as caught:
        client.create(job_request(bucket, **changes))
    assert not caught.value.transient
    assert caught.value.code == (code or caught.value.code)
    assert vertex.requests.counts == {"create": 1}


def test_get_asks_in_the_location_of_the_name(vertex, client):
    (name,) = seed(vertex, location="europe-west4")
    assert client.location == "us-central1"
    assert client.get(name).name == name


def test_get_asks_in_the_project_of_the_name(vertex, client):
    with pytest.raises(VertexApiError, match="403 PERMISSION_DENIED") as caught:
        client.get(VertexJobName("another-project", "us-central1", "42"))
    (call,) = vertex.requests.calls("get")
    assert call["path"] == "/v1/projects/another-project/locations/us-central1/batchPredictionJobs/42"
    # A role is given while a task waits for its next try; the same call again is of no use.
    assert (caught.value.transient, caught.value.retryable) == (False, True)


def test_get_names_the_job_and_the_reason(vertex, client):
    name = VertexJobName("demo-project", "us-central1", "42")
    with pytest.raises(VertexApiError) as caught:
        client.get(name)
    assert str(caught.value).startswith(f"reading {name}: Vertex AI answered 404 NOT_FOUND: The Batch")
    assert (caught.value.code, caught.value.reason, caught.value.transient) == (404, "NOT_FOUND", False)


def call(client: BatchJobClient, method: str, name: VertexJobName, bucket: str = "") -> None:
    """Send one call."""
    if method == "list":
        list(client.list())
    elif method == "create":
        client.create(job_request(bucket))
    else:
        getattr(client, method)(name)


@pytest.mark.parametrize(("fault", "arguments", "code"), NO_ANSWER)
@pytest.mark.parametrize("method", ["get", "list", "cancel", "delete"])
def test_no_answer_is_an_error_that_may_pass(vertex, client, method, fault, arguments, code):
    (name,) = seed(vertex)
    vertex.faults.plan(fault, on=method, times=None, **arguments)
    with pytest.raises(VertexApiError, match=r"^(reading|listing|cancelling|deleting) ") as caught:
        call(client, method, name)
    assert (caught.value.code, caught.value.transient) == (code, True)
    assert vertex.requests.counts[method] == 1


@pytest.mark.parametrize("fault", UNREADABLE)
@pytest.mark.parametrize("method", ["get", "list"])
def test_unreadable_answer_is_an_error_that_may_pass(vertex, client, method, fault):
    (name,) = seed(vertex)
    vertex.faults.plan(fault, on=method)
    with pytest.raises(VertexApiError, match="answered 200 with a body that cannot be read") as caught:
        call(client, method, name)
    assert (caught.value.code, caught.value.transient) == (200, True)


def test_answer_that_does_not_come_in_time_is_an_error_that_may_pass(vertex):
    (name,) = seed(vertex)
    client = make_client(vertex, read_timeout=0.1)
    vertex.faults.plan("delay", on="get", seconds=0.4)
    with pytest.raises(VertexApiError, match="no answer from Vertex AI") as caught:
        client.get(name)
    assert (caught.value.code, caught.value.transient) == (None, True)


def test_server_that_is_not_there_is_an_error_that_may_pass(client):
    nobody = BatchJobClient(credentials=client._credentials, base_url="http://127.0.0.1:9", **HERE)
    with pytest.raises(VertexApiError, match="no answer from Vertex AI") as caught:
        list(nobody.list())
    assert caught.value.transient


def test_list_follows_the_pages(vertex, client, bucket):
    names = seed(vertex, 205, labels={"shop": bucket})
    found = [job.name for job in client.list(JobQuery(labels={"shop": bucket}))]
    assert found == names[::-1]
    assert vertex.requests.counts == {"list": 3}


def test_list_asks_for_no_page_that_nobody_reads(vertex, client, bucket):
    names = seed(vertex, 101, labels={"shop": bucket})
    assert next(client.list(JobQuery(labels={"shop": bucket}))).name == names[-1]
    assert vertex.requests.counts == {"list": 1}


def test_list_of_nothing_is_empty(vertex, client, bucket):
    assert list(client.list(JobQuery(labels={"shop": bucket}))) == []


def test_list_is_not_emptied_for_want_of_a_page_size(vertex, client, bucket):
    vertex.faults.plan("empty_list_without_page_size")
    names = seed(vertex, labels={"shop": bucket})
    assert [job.name for job in client.list(JobQuery(labels={"shop": bucket}))] == names


def test_list_asks_in_the_client_s_own_place(vertex, client):
    list(client.list())
    assert {call["path"] for call in vertex.requests.calls("list")} == {PARENT}


def test_page_that_can_t_be_read_is_no_end_of_the_list(vertex, client, bucket):
    seed(vertex, 150, labels={"shop": bucket})
    vertex.faults.plan("empty_answer", on="list", skip=1)
    with pytest.raises(VertexApiError, match="an empty body"):
        list(client.list(JobQuery(labels={"shop": bucket})))


def test_cancel_stops_a_job(vertex, client):
    (name,) = seed(vertex)
    client.cancel(name)
    assert wait_for(client, name, JobState.CANCELLED).error is not None


def test_cancel_of_a_job_that_has_ended_is_refused(vertex, client):
    (name,) = seed(vertex, run_seconds=0.0)
    wait_for(client, name, JobState.SUCCEEDED)
    with pytest.raises(
        VertexApiError, match=rf"cancelling {re.escape(str(name))}: .* 400 FAILED_PRECONDITION"
    ):
        client.cancel(name)


def test_delete_removes_a_job_that_has_ended(vertex, client):
    (name,) = seed(vertex, run_seconds=0.0)
    wait_for(client, name, JobState.SUCCEEDED)
    client.delete(name)
    with pytest.raises(VertexApiError, match="404 NOT_FOUND"):
        client.get(name)


def test_delete_of_a_job_under_way_is_refused(vertex, client):
    (name,) = seed(vertex)
    with pytest.raises(VertexApiError, match="400 FAILED_PRECONDITION"):
        client.delete(name)


class RefusedCredentials(Credentials):
    """Credentials that were taken back."""

    def refresh(self, request):
        raise RefreshError("invalid_grant: the account has been deleted")


@pytest.mark.parametrize("method", ["get", "list", "cancel", "delete", "create"])
def test_refused_credentials_are_told_apart_from_an_unclear_answer(vertex, bucket, method):
    client = BatchJobClient(credentials=RefusedCredentials(), base_url=vertex.url, **HERE)
    name = VertexJobName("demo-project", "us-central1", "42")
    with pytest.raises(CredentialsError, match="invalid_grant: the account has been deleted") as caught:
        call(client, method, name, bucket)
    # Nothing was sent, so nothing is open; but accounts get mended while a task waits for its next try.
    assert (caught.value.transient, caught.value.retryable) == (False, True)
    assert vertex.requests.counts == {}
