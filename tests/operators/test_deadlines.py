"""Jobs over a limit, jobs killed with their task, and the tries after them."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.exceptions import JobTimeoutError
from airflow_gemini_batch.hooks import kill
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.requests_data import request, upload
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat

WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "waiting"])


@pytest.fixture
def make_task(gemini_batch_stack, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request(f"{n}") for n in range(10)])

    def make(**arguments):
        settings = {"model": "gemini-3.8-flash", "source": source, "poll_interval": 0.05, **arguments}
        return SubmitGeminiBatchOperator(task_id="describe", **settings)

    return make


def state_of(task, message_or_name: str) -> JobState:
    name = VertexJobName.parse(
        next(word for word in message_or_name.split() if word.startswith("projects/")).rstrip(":")
    )
    return task.hook.get_conn(name).get(name).state


@WAYS
def test_job_that_does_not_start_in_time_is_cancelled(gemini_batch_stack, make_task, deferrable):
    gemini_batch_stack.vertex.faults.plan("slow")
    task = make_task(deferrable=deferrable, queue_timeout=0.3)
    with pytest.raises(JobTimeoutError) as late:
        run_task(task)
    message = str(late.value)
    assert "waiting to start since" in message
    assert "the limit (queue_timeout)" in message
    assert "It was cancelled (CANCELLED). The next try submits a new job." in message
    assert state_of(task, message) is JobState.CANCELLED


@WAYS
def test_job_that_runs_too_long_is_cancelled_and_its_finished_rows_kept(
    gemini_batch_stack, make_task, deferrable
):
    gemini_batch_stack.vertex.faults.plan("slow", queue_seconds=0.0, run_seconds=2.0)
    task = make_task(deferrable=deferrable, run_timeout=1.0)
    with pytest.raises(JobTimeoutError) as late:
        run_task(task)
    message = str(late.value)
    assert "running since" in message
    assert "finished rows are kept" in flat(message)
    assert "Answers     gs://" in message
    assert state_of(task, message) is JobState.CANCELLED


@WAYS
def test_job_over_a_limit_is_left_running_when_told_so(gemini_batch_stack, make_task, deferrable):
    gemini_batch_stack.vertex.faults.plan("slow")
    task = make_task(deferrable=deferrable, queue_timeout=0.3, on_timeout="leave")
    with pytest.raises(JobTimeoutError, match="It may still be running and billing") as late:
        run_task(task)
    assert state_of(task, str(late.value)) is JobState.PENDING


def test_job_that_ends_well_while_it_is_cancelled_is_a_success(gemini_batch_stack, make_task):
    gemini_batch_stack.vertex.faults.plan("slow", queue_seconds=0.0, run_seconds=2.0)
    gemini_batch_stack.vertex.faults.plan("cancel_comes_late")
    assert run_task(make_task(run_timeout=0.5))["counts"]["ok"] == 10


def test_cleared_task_that_took_over_a_job_about_to_be_cancelled_submits_anew(gemini_batch_stack, make_task):
    gemini_batch_stack.vertex.faults.plan("slow")
    with pytest.raises(TaskDeferred) as first:
        make_task().execute({"ti": TaskInstance()})
    second_try = make_task()
    with pytest.raises(TaskDeferred) as second:
        second_try.execute({"ti": TaskInstance(try_number=2)})
    assert second.value.trigger.job_name == first.value.trigger.job_name

    name = VertexJobName.parse(first.value.trigger.job_name)
    second_try.hook.get_conn(name).cancel(name)
    event = {"version": 1, "outcome": "ended", "job_name": str(name), "state": "", "message": ""}
    with pytest.raises(TaskDeferred) as third:
        second_try.resume({"ti": TaskInstance(try_number=2)}, event, **second.value.kwargs)
    assert third.value.trigger.job_name != str(name)
    assert third.value.kwargs == {"adopted": False}


def test_killed_worker_cancels_the_job_that_it_waits_for(gemini_batch_stack, make_task, monkeypatch):
    gemini_batch_stack.vertex.faults.plan("slow")
    task = make_task(deferrable=False)
    monkeypatch.setattr(kill, "task_state", lambda *_: "failed")

    def killed(_seconds):
        task.on_kill()
        raise KeyboardInterrupt

    monkeypatch.setattr(SubmitGeminiBatchOperator, "patience", Patience(sleep=killed))
    gemini_batch_stack.vertex.requests.clear()
    with pytest.raises(KeyboardInterrupt):
        run_task(task)
    assert gemini_batch_stack.vertex.requests.counts["cancel"] == 1


def test_kill_without_a_job_does_nothing(gemini_batch_stack, make_task):
    gemini_batch_stack.vertex.requests.clear()
    make_task().on_kill()
    assert gemini_batch_stack.vertex.requests.counts == {}
