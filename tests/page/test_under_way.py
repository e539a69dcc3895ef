"""Asking Vertex AI for a page: known answers are shown, and nobody waits for one that does not come."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.page.task_jobs import WaitedFor
from airflow_gemini_batch.page.under_way import MOST_JOBS, JobReader
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.page.stored import JOB

AT_ONCE, SOON = 0.05, 20.0


def waited_for(number: int = 1, connection: str = "c") -> WaitedFor:
    return WaitedFor(JOB.replace("123", str(number)), connection)


def job(one: WaitedFor) -> BatchJob:
    return BatchJob(VertexJobName.parse(one.job_name), JobState.RUNNING)


class Service:
    """Answers for the jobs of all connections but those that hang or fail; ``asked`` lists the calls."""

    def __init__(self, *, hangs: str = "", fails: str = "") -> None:
        self.hangs, self.fails = hangs, fails
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, jobs):
        for one in jobs:
            self.asked.append(one.job_name[-1] if one.gcp_conn_id == "c" else one.gcp_conn_id)
            if one.gcp_conn_id == self.hangs:
                self.released.wait(SOON)
            if one.gcp_conn_id == self.fails:
                raise OSError("no such host\x1b[2J")
            yield job(one)


@pytest.fixture
def service():
    made = []

    def make(**behaviour: str) -> Service:
        made.append(Service(**behaviour))
        return made[-1]

    yield make
    for one in made:
        one.released.set()


def test_each_job_is_read_once_while_its_answer_is_fresh(service):
    answers = service()
    reader = JobReader(answers, patience=SOON, fresh=60)
    jobs = [waited_for(1), waited_for(2), waited_for(1)]
    assert reader.read(jobs) == reader.read(jobs) == {one: job(one) for one in jobs}
    assert answers.asked == ["1", "2"]


def test_old_answer_is_asked_for_again_and_never_shown(service):
    answers = service()
    reader = JobReader(answers, patience=SOON, fresh=0)
    first = reader.read([waited_for()])
    assert first
    answers.fails = "c"
    time.sleep(0.001)
    assert reader.read([waited_for()]) == {}
    assert answers.asked == ["1", "1"]


def test_page_does_not_wait_for_a_connection_that_hangs(service):
    answers = service(hangs="stuck")
    reader = JobReader(answers, patience=AT_ONCE, threads=2)
    stuck, other = waited_for(1, "stuck"), waited_for(2)
    began = time.monotonic()
    for _ in range(5):
        reader.read([stuck, other])
    assert time.monotonic() - began < SOON / 2
    # It is not asked again while the first question is open, so that threads do not pile up.
    assert answers.asked.count("stuck") == 1
    answers.released.set()
    while not (known := reader.read([stuck, other])).get(stuck):
        assert time.monotonic() - began < SOON
    assert known == {stuck: job(stuck), other: job(other)}


def test_error_leaves_jobs_unknown_and_others_known(service, caplog):
    answers = service(fails="broken")
    reader = JobReader(answers, patience=SOON)
    assert reader.read([waited_for(1, "broken"), waited_for(2)]) == {waited_for(2): job(waited_for(2))}
    assert "OSError: no such host\\x1b[2J" in caplog.text


def test_page_asks_for_a_bounded_number_of_jobs(service):
    answers = service()
    reader = JobReader(answers, patience=SOON)
    assert len(reader.read(waited_for(number) for number in range(1000, 1000 + 3 * MOST_JOBS))) == MOST_JOBS
    assert len(answers.asked) == MOST_JOBS


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, (None, None)),
        ({"impersonation_chain": ["a", "b"], "quota_project_id": "q"}, (("a", "b"), "q")),
        ({"impersonation_chain": "a"}, ("a", None)),
    ],
)
def test_connection_is_that_of_the_trigger(arguments, found):
    read = WaitedFor.of({"job_name": JOB, "submitted_at": 1, "gcp_conn_id": "c", **arguments})
    assert (read.impersonation_chain, read.quota_project_id) == found
    assert hash(read)
