"""submit_once over real HTTP: one job, whatever the calls are answered."""

from __future__ import annotations

import socket
import uuid

import pytest
from google.oauth2.credentials import Credentials

from airflow_gemini_batch.exceptions import CredentialsError, SubmissionUnknownError, VertexApiError
from airflow_gemini_batch.jobs.client import ALL_JOBS
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.jobs.submission import JobRequest
from airflow_gemini_batch.jobs.submit_once import jobs_of, submit_once
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.jobs.submission import LOG, Submission, creates
from tests.support.jobs import make_client, seed, wait_for

LOOKS = [1, 2, 4, 8, 15, 30]


def test_first_try_creates_one_job(vertex, submission):
    job = submission.submit()
    # Before: is there a job? After: is there another one, created at the same moment?
    assert vertex.requests.counts == {"list": 2, "create": 1}
    assert job.labels["gemini_batch_id"] == submission.identity
    assert (submission.attempts, submission.pauses) == ([0], [])


@pytest.mark.parametrize(
    ("state", "fault", "arguments"),
    [
        pytest.param(JobState.PENDING, "slow", {}, id="waiting"),
        pytest.param(JobState.RUNNING, "slow", {"queue_seconds": 0.0}, id="running"),
        pytest.param(JobState.SUCCEEDED, None, {}, id="succeeded"),
        pytest.param(JobState.PARTIALLY_SUCCEEDED, "partly_succeed", {}, id="partly-succeeded"),
    ],
)
def test_job_of_an_earlier_try_is_taken_over(vertex, submission, state, fault, arguments):
    earlier = submission.earlier(state, fault, **arguments)
    assert submission.submit().name == earlier.name
    assert creates(vertex) == 0
    assert submission.attempts == []


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        pytest.param(JobState.FAILED, "fail", id="failed"),
        pytest.param(JobState.EXPIRED, "expire_queued", id="expired"),
        pytest.param(JobState.PAUSED, "pause", id="paused"),
    ],
)
def test_job_that_ended_badly_is_followed_by_a_new_one(vertex, submission, state, fault):
    earlier = submission.earlier(state, fault)
    assert submission.submit().name != earlier.name
    assert creates(vertex) == 1
    assert submission.attempts == [1]


@pytest.mark.parametrize("kept", [True, False])
def test_expired_job_is_taken_over_where_its_rows_are_worth_keeping(vertex, submission, kept):
    earlier = submission.earlier(JobState.EXPIRED, "expire_running", share=0.5)
    asked = []

    def is_worth_keeping(job):
        asked.append(job.name)
        return kept

    job = submission.submit(is_worth_keeping=is_worth_keeping)
    assert (job.name == earlier.name) is kept
    assert creates(vertex) == (0 if kept else 1)
    assert asked == [earlier.name]


@pytest.mark.parametrize(("state", "fault"), [(JobState.FAILED, "fail"), (JobState.SUCCEEDED, None)])
def test_only_expired_jobs_are_asked_about_their_rows(submission, state, fault):
    submission.earlier(state, fault)
    submission.submit(is_worth_keeping=lambda job: pytest.fail(f"asked about {job}"))


def test_job_that_was_cancelled_is_followed_by_a_new_one(vertex, submission):
    earlier = submission.earlier(JobState.RUNNING, "slow", queue_seconds=0.0)
    submission.client.cancel(earlier.name)
    wait_for(submission.client, earlier.name, JobState.CANCELLED)
    assert submission.submit().name != earlier.name
    assert creates(vertex) == 1


def test_job_that_is_being_cancelled_is_followed_by_a_new_one(gemini_batch_stack, bucket):
    stack = gemini_batch_stack
    # A server of its own, on which cancelling takes long enough to be seen.
    with LocalVertex(
        storage_url=stack.storage.url,
        bigquery_url=stack.bigquery.url,
        queue_seconds=3600.0,
        cancel_seconds=2.0,
    ) as slow:
        submission = Submission(slow, make_client(slow), bucket)
        earlier = submission.earlier(JobState.PENDING)
        submission.client.cancel(earlier.name)
        wait_for(submission.client, earlier.name, JobState.CANCELLING)
        assert submission.submit().name != earlier.name
        assert creates(slow) == 1


def test_jobs_of_others_are_not_taken_over(vertex, submission, bucket):
    seed(vertex, 3, labels={"gemini_batch_id": uuid.uuid4().hex})
    assert submission.submit().labels["gemini_batch_id"] == submission.identity
    assert creates(vertex) == 1


class UnfilteredClient(BatchJobClient):
    """A client of a service that does not apply filters."""

    def list(self, query=ALL_JOBS):
        return super().list()


def test_labels_are_compared_even_where_the_service_does_not_filter(vertex, client, submission):
    seed(vertex, 3, labels={"gemini_batch_id": uuid.uuid4().hex})
    seed(vertex)
    submission.client = make_client(vertex, UnfilteredClient)
    assert jobs_of(submission.client, submission.identity) == []
    created = submission.submit()
    assert jobs_of(client, submission.identity)[0].name == created.name
    assert creates(vertex) == 1


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        pytest.param("drop_after", {}, id="dropped"),
        pytest.param("error_after", {"status": "UNAVAILABLE"}, id="503"),
        pytest.param("error_after", {"status": "INTERNAL"}, id="500"),
        pytest.param("empty_answer", {}, id="empty"),
        pytest.param("html_answer", {}, id="html"),
    ],
)
def test_job_whose_creation_was_not_confirmed_is_found(vertex, client, submission, fault, arguments):
    vertex.faults.plan(fault, on="create", times=None, **arguments)
    job = submission.submit()
    assert [job.name] == [found.name for found in jobs_of(client, submission.identity)]
    assert creates(vertex) == 1
    assert submission.pauses == [1]


def test_job_that_appears_late_in_the_list_is_found(vertex, submission):
    vertex.faults.plan("drop_after", on="create")
    vertex.faults.plan("stale_list", seconds=1.0)
    submission.submit(pause=0.3)
    assert 2 <= len(submission.pauses) < len(LOOKS)
    assert creates(vertex) == 1


def test_look_that_fails_is_followed_by_another(vertex, submission):
    vertex.faults.plan("drop_after", on="create")
    vertex.faults.plan("error", on="list", skip=1, times=2)
    submission.submit()
    assert submission.pauses == [1, 2, 4]
    assert creates(vertex) == 1


@pytest.mark.parametrize("fault", ["drop_before", "error"])
def test_job_that_never_appears_leaves_the_question_open(vertex, client, submission, fault):
    vertex.faults.plan(fault, on="create", times=None)
    with pytest.raises(SubmissionUnknownError) as unknown:
        submission.submit()
    assert "has appeared in 60 seconds. The next try looks for it once more" in str(unknown.value)
    assert submission.identity in str(unknown.value)
    assert unknown.value.retryable
    assert submission.pauses == LOOKS
    assert creates(vertex) == 1


def test_earlier_job_is_not_taken_for_the_one_that_is_looked_for(vertex, submission):
    submission.earlier(JobState.FAILED, "fail")
    vertex.faults.plan("drop_before", on="create")
    with pytest.raises(SubmissionUnknownError):
        submission.submit()
    assert creates(vertex) == 1


def test_next_try_after_an_open_question_takes_the_job_that_was_there(vertex, submission):
    vertex.faults.plan("drop_after", on="create")
    hidden = vertex.faults.plan("stale_list", seconds=3600.0)
    with pytest.raises(SubmissionUnknownError):
        submission.submit()
    vertex.faults.clear(hidden.id)
    submission.submit()
    assert creates(vertex) == 1


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        pytest.param("error", {"status": "UNAVAILABLE"}, id="503"),
        pytest.param("error", {"status": "PERMISSION_DENIED"}, id="403"),
        pytest.param("empty_answer", {}, id="empty"),
        pytest.param("html_answer", {}, id="html"),
        pytest.param("drop_before", {}, id="dropped"),
    ],
)
def test_nothing_is_created_when_the_service_can_t_be_asked(vertex, submission, fault, arguments):
    vertex.faults.plan(fault, on="list", times=None, **arguments)
    with pytest.raises(VertexApiError, match="listing the jobs of demo-project in us-central1"):
        submission.submit()
    assert creates(vertex) == 0


def test_refusal_is_final_and_not_looked_into(vertex, submission):
    vertex.faults.plan("error", on="create", status="INVALID_ARGUMENT", message="no such model")
    with pytest.raises(VertexApiError, match="no such model"):
        submission.submit()
    assert vertex.requests.counts == {"list": 1, "create": 1}
    assert submission.pauses == []


@pytest.mark.parametrize("status", ["RESOURCE_EXHAUSTED", "UNIMPLEMENTED"])
def test_refusal_for_the_moment_is_tried_again_and_then_left_to_airflow(vertex, submission, status):
    """Such an answer says that no job exists, so nobody looks for one."""
    vertex.faults.plan("error", on="create", status=status, times=None)
    with pytest.raises(VertexApiError, match=status) as refused:
        submission.submit()
    assert refused.value.retryable
    assert vertex.requests.counts == {"list": 1, "create": 3}
    assert submission.pauses == [2, 8]


def test_refusal_that_passes_costs_one_job(vertex, client, submission):
    vertex.faults.plan("error", on="create", status="RESOURCE_EXHAUSTED", times=2)
    job = submission.submit()
    assert [job.name] == [found.name for found in jobs_of(client, submission.identity)]


def test_refusal_that_is_followed_by_an_open_question_is_looked_into(vertex, client, submission):
    vertex.faults.plan("error", on="create", status="RESOURCE_EXHAUSTED")
    vertex.faults.plan("drop_after", on="create", skip=1)
    job = submission.submit()
    assert [job.name] == [found.name for found in jobs_of(client, submission.identity)]
    assert submission.pauses == [2, 1]


def test_create_call_without_a_connection_made_no_job(vertex, submission):
    submission.client = NowhereClient(submission.client)
    with pytest.raises(VertexApiError, match="no readable answer") as refused:
        submission.submit()
    assert not isinstance(refused.value, SubmissionUnknownError)
    assert refused.value.retryable
    assert submission.pauses == [2, 8]


class NowhereClient:
    """A client whose service can be asked, and is gone when something is to be created."""

    def __init__(self, client: BatchJobClient) -> None:
        self.list = client.list
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        self.create = BatchJobClient(
            credentials=Credentials(token="anonymous"),
            project=client.project,
            location=client.location,
            base_url=f"http://127.0.0.1:{port}",
        ).create


@pytest.mark.parametrize(
    ("answer", "certain"),
    [
        *[({"code": code}, True) for code in (400, 401, 403, 404, 412, 413, 429, 501)],
        *[({"code": code}, False) for code in (None, 200, 302, 408, 409, 499, 500, 502, 503, 504)],
        ({"sent": False}, True),
    ],
    ids=str,
)
def test_which_answers_say_that_nothing_was_created(answer, certain):
    assert VertexApiError("creating", **answer).had_no_effect is certain
    assert CredentialsError("no token").had_no_effect


def test_request_that_can_t_be_made_is_not_sent(vertex, client):
    def make_request(attempt: int) -> JobRequest:
        raise ValueError("there is no place for the output")

    with pytest.raises(ValueError, match="no place"):
        submit_once(client, uuid.uuid4().hex, make_request, LOG)
    assert creates(vertex) == 0


def test_later_try_looks_again_before_it_creates(vertex, submission):
    """An earlier try may have died with its create call on the way."""
    submission.earlier(JobState.PENDING, "slow")
    vertex.faults.plan("stale_list", seconds=3600.0, times=2)
    assert submission.submit(first_try=False) is not None
    assert creates(vertex) == 0


def test_later_try_that_finds_nothing_creates_one_job(vertex, submission):
    submission.submit(first_try=False)
    assert creates(vertex) == 1
    assert submission.pauses == [2, 4, 8]
