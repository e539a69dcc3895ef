"""Who may cancel a job, and when nobody may."""

from __future__ import annotations

import logging
import time

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_gemini_batch import GeminiBatchHook, SubmitGeminiBatchOperator
from airflow_gemini_batch.hooks import kill
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import job_request
from tests.support.requests_data import request, upload
from tests.support.tasks import TaskInstance

LOG = logging.getLogger(__name__)


@pytest.fixture
def says(monkeypatch):
    """Let Airflow say that the task has a state, or fail to say."""

    def says(answer):
        def task_state(*_):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(kill, "task_state", task_state)

    return says


@pytest.fixture
def job_name(gemini_batch_stack, bucket):
    """The name of a job that would run for an hour."""
    gemini_batch_stack.vertex.faults.plan("slow")
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    task = SubmitGeminiBatchOperator(task_id="describe", model="gemini-3.8-flash", requests=source)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": TaskInstance(run_id=bucket)})
    return VertexJobName.parse(deferred.value.trigger.job_name)


def state_of(name: VertexJobName) -> JobState:
    return GeminiBatchHook().get_conn(name).get(name).state


def cancel(
    name: VertexJobName, waiting_state: str = "deferred", ti: TaskInstance | None = None, **settings: float
) -> bool:
    ti = ti or TaskInstance(run_id=GeminiBatchHook().get_conn(name).get(name).labels["airflow_run"])
    return kill.cancel_if_killed(str(name), GeminiBatchHook(), ti, waiting_state, LOG, **settings)


@pytest.mark.parametrize("state", ["failed", "success", "scheduled", "restarting", "removed", None])
def test_cancels_when_the_task_does_not_wait_any_more(job_name, says, state):
    says(state)
    assert cancel(job_name)
    assert state_of(job_name) in (JobState.CANCELLING, JobState.CANCELLED, JobState.PENDING)
    deadline = time.monotonic() + 10
    while state_of(job_name) is not JobState.CANCELLED:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("state", ["restarting", "failed", "success"])
def test_cancels_what_a_worker_waits_for_when_a_user_marked_or_cleared_its_task(job_name, says, state):
    says(state)
    assert cancel(job_name, "running")


@pytest.mark.parametrize("state", ["queued", "scheduled", "up_for_retry", None])
def test_leaves_the_job_alone_when_the_scheduler_puts_the_task_back(job_name, says, state):
    says(state)
    assert not cancel(job_name, "running")
    assert state_of(job_name) is JobState.PENDING


@pytest.mark.parametrize("waiting_state", ["deferred", "running"])
def test_leaves_the_job_alone_when_its_process_was_merely_stopped(
    gemini_batch_stack, job_name, says, waiting_state
):
    says(waiting_state)
    assert not cancel(job_name, waiting_state)
    assert state_of(job_name) is JobState.PENDING


@pytest.mark.parametrize("error", [LookupError("gone"), OSError("no answer"), RuntimeError("torn down")])
def test_leaves_the_job_alone_when_airflow_can_not_be_asked(job_name, says, error, caplog):
    says(error)
    with caplog.at_level(logging.WARNING):
        assert not cancel(job_name)
    assert "could not ask whether its task was killed" in caplog.text
    assert state_of(job_name) is JobState.PENDING


def test_does_not_wait_for_an_answer_that_never_comes(job_name, monkeypatch):
    monkeypatch.setattr(kill, "task_state", lambda *_: time.sleep(2))
    start = time.monotonic()
    assert not cancel(job_name, answer_timeout=0.1)
    assert time.monotonic() - start < 1.5


def test_tells_where_to_look_when_the_job_can_not_be_cancelled(gemini_batch_stack, job_name, says, caplog):
    says("failed")
    gemini_batch_stack.vertex.faults.plan("error", on="cancel", status="PERMISSION_DENIED")
    with caplog.at_level(logging.ERROR):
        assert not cancel(job_name)
    assert "It may still bill" in caplog.text
    assert job_name.console_url in caplog.text


@pytest.mark.parametrize(
    "other", [{"dag_id": "weekly"}, {"task_id": "another"}, {"run_id": "another"}], ids=str
)
def test_job_of_another_task_is_left_alone(job_name, says, caplog, other):
    """A run that overlaps may wait for the same job, and whoever changes a trigger must not cancel any job."""
    says("failed")
    labels = GeminiBatchHook().get_conn(job_name).get(job_name).labels
    assert not cancel(job_name, ti=TaskInstance(**{"run_id": labels["airflow_run"], **other}))
    assert "it is the job of another task" in caplog.text
    assert state_of(job_name) is JobState.PENDING


def test_job_that_bears_no_labels_of_airflow_is_cancelled(vertex, client, bucket, says):
    """The trigger may wait for a job that another operator has created."""
    vertex.faults.plan("slow")
    name = client.create(job_request(bucket)).name
    says("failed")
    assert cancel(name, ti=TaskInstance())
