"""A killed task's trigger cancels the job; a restarted triggerer's does not."""

from __future__ import annotations

import asyncio

import pytest

from airflow_gemini_batch import GeminiBatchJobTrigger
from airflow_gemini_batch.hooks import kill
from airflow_gemini_batch.version_compat import TRIGGERS_HEAR_OF_KILLS
from tests.support.requests_data import request, upload
from tests.support.tasks import TaskInstance


@pytest.fixture
def make_trigger(gemini_batch_stack, bucket):
    from airflow.providers.common.compat.sdk import TaskDeferred

    from airflow_gemini_batch import SubmitGeminiBatchOperator

    def make(**arguments):
        gemini_batch_stack.vertex.faults.plan("slow")
        source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
        task = SubmitGeminiBatchOperator(task_id="describe", model="gemini-3.8-flash", requests=source)
        with pytest.raises(TaskDeferred) as deferred:
            task.execute({"ti": TaskInstance(run_id=bucket)})
        trigger = GeminiBatchJobTrigger(
            job_name=deferred.value.trigger.job_name,
            submitted_at=deferred.value.trigger.submitted_at,
            gcp_conn_id="google_cloud_default",
            **arguments,
        )
        trigger.task_instance = TaskInstance(run_id=bucket)
        return trigger

    gemini_batch_stack.vertex.requests.clear()
    return make


def cancels(stack) -> int:
    return stack.vertex.requests.counts.get("cancel", 0)


async def run_and_cancel(trigger, message: str | None = None) -> None:
    async def run() -> None:
        async for _ in trigger.run():
            pass

    running = asyncio.create_task(run())
    await asyncio.sleep(0.3)
    running.cancel(message)
    with pytest.raises(asyncio.CancelledError):
        await running


@pytest.mark.parametrize(("state", "expected"), [("failed", 1), (None, 1), ("deferred", 0)])
async def test_on_kill_cancels_unless_the_task_still_waits(
    gemini_batch_stack, make_trigger, monkeypatch, state, expected
):
    monkeypatch.setattr(kill, "task_state", lambda *_: state)
    await make_trigger().on_kill()
    assert cancels(gemini_batch_stack) == expected


async def test_on_kill_leaves_the_job_when_told_so(gemini_batch_stack, make_trigger, monkeypatch):
    monkeypatch.setattr(kill, "task_state", lambda *_: "failed")
    await make_trigger(cancel_on_kill=False).on_kill()
    assert cancels(gemini_batch_stack) == 0


async def test_restart_of_the_triggerer_leaves_the_job(gemini_batch_stack, make_trigger, monkeypatch):
    monkeypatch.setattr(kill, "task_state", lambda *_: "deferred")
    await run_and_cancel(make_trigger())
    assert cancels(gemini_batch_stack) == 0


@pytest.mark.skipif(TRIGGERS_HEAR_OF_KILLS, reason="Airflow calls on_kill itself from 3.3 on")
async def test_below_airflow_3_3_a_cancelled_trigger_asks_by_itself(
    gemini_batch_stack, make_trigger, monkeypatch
):
    monkeypatch.setattr(kill, "task_state", lambda *_: "failed")
    await run_and_cancel(make_trigger())
    assert cancels(gemini_batch_stack) == 1
