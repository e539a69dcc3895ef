"""Follow-up jobs: what becomes of them when a task resumes, is killed, or finds something gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from google.api_core.exceptions import ServiceUnavailable

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.core.labels import label_value
from airflow_gemini_batch.hooks import kill
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.outputs.files import CloudStorage
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.operators.stage import describe
from tests.support.jobs import make_client, wait_for
from tests.support.requests_data import lines, storage_client, upload
from tests.support.tasks import TaskInstance, run_task

ROWS = 10


def ended(job_name: str) -> dict[str, Any]:
    return {"version": 1, "outcome": "ended", "job_name": job_name, "state": "", "message": ""}


def deferred_job(run: Callable[..., Any], *args: Any, **more: Any) -> str:
    """Run a method of an operator, which has to defer, and return the job that it waits for."""
    with pytest.raises(TaskDeferred) as deferred:
        run(*args, **more)
    return str(deferred.value.trigger.job_name)


def done(vertex: Any, name: str, *states: JobState) -> BatchJob:
    expected = states or (JobState.SUCCEEDED, JobState.PARTIALLY_SUCCEEDED)
    return wait_for(make_client(vertex), VertexJobName.parse(name), *expected)


@pytest.mark.usefixtures("half_of_rows_missing")
def test_output_that_can_t_be_read_is_not_taken_for_missing(vertex, source, mocker):
    vertex.requests.clear()
    mocker.patch.object(CloudStorage, "summarize", side_effect=ServiceUnavailable("try again"))
    with pytest.raises(ServiceUnavailable):
        run_task(describe(source))
    assert vertex.requests.counts["create"] == 1
    mocker.stopall()
    assert run_task(describe(source), TaskInstance(try_number=2))["counts"]["ok"] == ROWS
    assert vertex.requests.counts["create"] == 2


def test_task_that_resumes_needs_the_event_only(
    gemini_batch_stack, vertex, half_of_rows_missing, bucket, source
):
    # dag.test() of some releases drops what a task left for itself, and the source may have been written anew.
    ti = TaskInstance()
    first = deferred_job(describe(source).execute, {"ti": ti})
    done(vertex, first)
    second = deferred_job(describe(source).resume, {"ti": ti}, ended(first))
    assert second != first
    done(vertex, second)
    upload(gemini_batch_stack, bucket, "in/prompts.jsonl", lines(gemini_batch_stack, source))
    vertex.requests.clear()
    manifest = describe(source).resume({"ti": ti}, ended(second))
    assert [one["job_name"] for one in manifest["rounds"]] == [first, second]
    assert manifest["counts"]["ok"] == ROWS
    assert "create" not in vertex.requests.counts


@pytest.mark.usefixtures("half_of_rows_missing")
def test_requests_that_are_gone_do_not_lose_the_answers(gemini_batch_stack, vertex, bucket, source):
    ti = TaskInstance()
    first = deferred_job(describe(source).execute, {"ti": ti})
    done(vertex, first)
    second = deferred_job(describe(source).resume, {"ti": ti}, ended(first))
    done(vertex, second)
    for blob in storage_client(gemini_batch_stack).list_blobs(bucket, prefix="in/reruns/"):
        blob.delete()
    assert describe(source).resume({"ti": ti}, ended(second))["counts"]["ok"] == ROWS
    storage_client(gemini_batch_stack).bucket(bucket).blob("in/prompts.jsonl").delete()
    assert describe(source).resume({"ti": ti}, ended(second))["counts"]["ok"] == ROWS


def test_follow_up_that_was_taken_over_and_cancelled_is_submitted_anew(vertex, half_of_rows_missing, source):
    vertex.faults.plan("slow", job="* rerun *")
    first = deferred_job(describe(source).execute, {"ti": TaskInstance()})
    done(vertex, first)
    second = deferred_job(describe(source).resume, {"ti": TaskInstance()}, ended(first))
    assert deferred_job(describe(source).execute, {"ti": TaskInstance(try_number=2)}) == second
    make_client(vertex).cancel(VertexJobName.parse(second))
    done(vertex, second, JobState.CANCELLED)
    vertex.requests.clear()
    third = deferred_job(
        describe(source).resume, {"ti": TaskInstance(try_number=2)}, ended(second), adopted=True
    )
    assert third not in (first, second)
    assert vertex.requests.counts["create"] == 1


def test_follow_up_of_a_job_is_not_taken_for_that_of_another(vertex, half_of_rows_missing, source):
    """A job that somebody deleted is followed by another with the same identity, which left other rows open."""
    client, ti = make_client(vertex), TaskInstance()
    first = deferred_job(describe(source).execute, {"ti": ti})
    done(vertex, first)
    second = deferred_job(describe(source).resume, {"ti": ti}, ended(first))
    done(vertex, second)
    client.delete(VertexJobName.parse(first))
    vertex.faults.plan("missing_rows", share=0.0)
    manifest = run_task(describe(source), TaskInstance(try_number=2))
    assert manifest["counts"]["ok"] == ROWS
    assert not {first, second} & {one["job_name"] for one in manifest["rounds"]}


def test_killed_worker_cancels_the_follow_up_that_it_waits_for(
    vertex, half_of_rows_missing, source, monkeypatch
):
    vertex.faults.plan("slow", job="* rerun *")
    operator = describe(source, deferrable=False)
    monkeypatch.setattr(kill, "task_state", lambda *_: "failed")
    ti = TaskInstance(run_id="killed in the follow-up")

    def killed(seconds: float) -> None:
        if vertex.requests.counts["create"] < 2 or "cancel" in vertex.requests.counts:
            return time.sleep(seconds)
        operator.on_kill()
        raise KeyboardInterrupt

    vertex.requests.clear()
    monkeypatch.setattr(SubmitGeminiBatchOperator, "patience", Patience(sleep=killed))
    with pytest.raises(KeyboardInterrupt):
        run_task(operator, ti)
    assert vertex.requests.counts["cancel"] == 1
    asked = {"airflow_run": label_value(ti.run_id), "gemini_batch_round": "1"}
    (follow_up,) = make_client(vertex).list(JobQuery(labels=asked))
    done(vertex, str(follow_up.name), JobState.CANCELLED)
