"""submit_once when a submission has come to more than one job: one is kept, the others stop billing."""

from __future__ import annotations

import logging

import pytest

from airflow_gemini_batch.jobs.client import ALL_JOBS
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.jobs.submit_once import jobs_of
from airflow_gemini_batch.vertex.client import BatchJobClient
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.jobs.submission import creates
from tests.support.jobs import make_client, wait_for


@pytest.mark.parametrize("first", [JobState.SUCCEEDED, JobState.PENDING])
def test_success_counts_more_than_a_job_under_way_which_is_cancelled(vertex, submission, first):
    faults = {JobState.SUCCEEDED: None, JobState.PENDING: "slow"}
    order = [first, *(faults.keys() - {first})]
    jobs = {state: submission.earlier(state, faults[state]) for state in order}
    assert submission.submit().name == jobs[JobState.SUCCEEDED].name
    # Nobody would ever look at what it answers, and it would be paid all the same.
    wait_for(submission.client, jobs[JobState.PENDING].name, JobState.CANCELLED)
    assert creates(vertex) == 0


def test_of_two_jobs_under_way_the_older_is_kept_and_the_younger_cancelled(vertex, submission, caplog):
    older = submission.earlier(JobState.PENDING, "slow")
    younger = submission.earlier(JobState.PENDING, "slow")
    assert submission.submit().name == older.name
    (alarm,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert f"keeping {older.name} (PENDING), cancelling {younger.name} (PENDING)" in alarm.getMessage()
    assert wait_for(submission.client, younger.name, JobState.CANCELLED)
    assert submission.client.get(older.name).state is JobState.PENDING
    assert creates(vertex) == 0


def test_younger_job_that_has_just_ended_does_no_harm(vertex, submission):
    older = submission.earlier(JobState.PENDING, "slow")
    submission.earlier(JobState.PENDING, "slow")
    # What the service answers when the job ended between the two calls.
    vertex.faults.plan("error", on="cancel", status="FAILED_PRECONDITION")
    assert submission.submit().name == older.name


@pytest.fixture
def rival(vertex, submission):
    """Run a try during which another scheduler creates a job as well; returns the one kept and the other's."""

    def rival(state: JobState, fault: str | None) -> tuple[VertexJobName, VertexJobName]:
        created = []

        def create() -> None:
            created.append(submission.earlier(state, fault).name)
            vertex.faults.plan("slow")

        return submission.submit(meanwhile=create).name, created[0]

    return rival


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        pytest.param(JobState.PENDING, "slow", id="waiting"),
        pytest.param(JobState.SUCCEEDED, None, id="done-already"),
    ],
)
def test_job_created_at_the_same_moment_is_kept_and_our_own_cancelled(
    client, vertex, submission, rival, state, fault
):
    kept, other = rival(state, fault)
    assert kept == other
    (own,) = (job.name for job in jobs_of(client, submission.identity) if job.name != other)
    wait_for(client, own, JobState.CANCELLED)


def test_job_that_ended_badly_at_the_same_moment_changes_nothing(client, submission, rival):
    kept, other = rival(JobState.FAILED, "fail")
    assert kept != other
    assert client.get(kept).state is JobState.PENDING


class LateClient(BatchJobClient):
    """A client of a service whose list does not show yet what this client has created."""

    def create(self, request):
        self.created = super().create(request)
        return self.created

    def list(self, query=ALL_JOBS):
        late = getattr(self, "created", None)
        return (job for job in super().list(query) if not late or job.name != late.name)


def test_our_own_job_is_cancelled_even_before_the_list_shows_it(client, vertex, submission):
    def create_another() -> None:
        vertex.faults.plan("slow")
        others.append(client.create(submission.request()).name)
        vertex.faults.plan("slow")

    others: list[VertexJobName] = []
    submission.client = make_client(vertex, LateClient)
    assert submission.submit(meanwhile=create_another).name == others[0]
    wait_for(client, submission.client.created.name, JobState.CANCELLED)


def test_look_for_another_job_that_fails_leaves_us_our_own(vertex, submission):
    vertex.faults.plan("error", on="list", skip=1)
    assert submission.submit().labels["gemini_batch_id"] == submission.identity
    assert creates(vertex) == 1
