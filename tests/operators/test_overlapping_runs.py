"""Runs of one DAG that overlap: what one of them asks, no other one pays for."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.operators.base import GeminiBatchOperator
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.operators.stage import describe
from tests.operators.steps import MODEL, book, built, landed
from tests.operators.test_build_again import ROWS, SCHEMA, Shop
from tests.support.jobs import make_client, wait_for
from tests.support.requests_data import upload
from tests.support.tables import make_dataset
from tests.support.tasks import TaskInstance, run_task

FIRST, SECOND = "scheduled__2026-11-22", "scheduled__2026-11-23"
SLOW = {"queue_seconds": 3600.0}


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operators log where ``caplog`` listens."""
    logger = logging.getLogger(__name__)
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(GeminiBatchOperator, "log", logger, raising=False)


@pytest.fixture(params=["tables", "parquet"])
def shop(request, gemini_batch_stack, vertex, bucket):
    if request.param == "tables":
        shop = Shop(gemini_batch_stack, make_dataset(gemini_batch_stack))
    else:
        shop = Shop(gemini_batch_stack, f"gs://{bucket}", request.param)
    shop.stock(ROWS)
    vertex.requests.clear()
    return shop


def build(shop: Shop, run_id: str, **arguments: Any) -> list[str]:
    ti = TaskInstance(task_id="build", run_id=run_id)
    settings = {"target": shop.target, "response_schema": SCHEMA, "on_empty": "succeed", **arguments}
    return built(shop.source, ti, **settings)


def submit(shop: Shop, requests: list[str], run_id: str, **arguments: Any) -> list[str]:
    """Submit each shard and return the jobs that the tasks wait for."""
    return [
        waiting(
            SubmitGeminiBatchOperator(
                task_id="submit", model=MODEL, requests=one, target=shop.target, **arguments
            ),
            TaskInstance(task_id="submit", run_id=run_id, map_index=index),
        ).job_name
        for index, one in enumerate(requests)
    ]


def waiting(task: SubmitGeminiBatchOperator, ti: TaskInstance) -> Any:
    """Run a task until it waits; returns its trigger."""
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": ti})
    return deferred.value.trigger


def creates(vertex: Any) -> int:
    return int(vertex.requests.counts.get("create", 0))


def test_rows_that_another_run_asks_are_left_out(vertex, shop, caplog):
    vertex.faults.plan("slow", **SLOW)
    (job,) = submit(shop, build(shop, FIRST), FIRST)
    assert build(shop, SECOND) == []
    assert f"The run {FIRST} is under way for the same target" in caplog.text
    assert job.rpartition("/")[2] in caplog.text
    with pytest.raises(AirflowSkipException, match="no new rows"):
        build(shop, SECOND, on_empty="skip")


def test_next_run_asks_for_new_and_changed_rows_only(vertex, shop):
    vertex.faults.plan("slow", **SLOW)
    submit(shop, build(shop, FIRST), FIRST)
    shop.stock([book(0), book(1, title="Another title"), book(2), book(3)])
    second = build(shop, SECOND)
    vertex.faults.clear()
    (manifest,) = (
        run_task(
            SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=one, poll_interval=0.05),
            TaskInstance(task_id="submit", run_id=SECOND),
        )
        for one in second
    )
    assert manifest["counts"]["ok"] == 2


def test_run_that_is_cleared_builds_what_it_has_built(vertex, shop):
    vertex.faults.plan("slow", **SLOW)
    requests = build(shop, FIRST)
    jobs = submit(shop, requests, FIRST)
    assert build(shop, FIRST) == requests
    assert submit(shop, requests, FIRST) == jobs
    assert creates(vertex) == 1


def test_all_jobs_of_a_run_count_until_the_last_has_ended(vertex, shop):
    vertex.faults.plan("slow", skip=1, **SLOW)
    requests = build(shop, FIRST, shard_rows=2)
    assert len(requests) > 1
    first, *_ = submit(shop, requests, FIRST)
    wait_for(make_client(vertex), VertexJobName.parse(first), JobState.SUCCEEDED)
    assert build(shop, SECOND, shard_rows=2) == []


def test_answers_that_wait_to_be_landed_are_not_asked_again(vertex, shop):
    requests = build(shop, FIRST)
    (job,) = submit(shop, requests, FIRST)
    wait_for(make_client(vertex), VertexJobName.parse(job), JobState.SUCCEEDED)
    assert build(shop, SECOND) == []
    manifests = [
        run_task(
            SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=one, poll_interval=0.05),
            TaskInstance(task_id="submit", run_id=FIRST, map_index=index),
        )
        for index, one in enumerate(requests)
    ]
    landed(manifests, shop.target, response_schema=SCHEMA)
    shop.stock([*ROWS, book(9)])
    assert len(build(shop, SECOND)) == 1


def test_rows_that_failed_are_asked_again_as_soon_as_the_others_are_landed(vertex, shop):
    vertex.faults.plan("missing_rows", share=0.0)
    requests = build(shop, FIRST)
    manifests = [
        run_task(
            SubmitGeminiBatchOperator(
                task_id="submit",
                model=MODEL,
                requests=one,
                target=shop.target,
                poll_interval=0.05,
                max_row_retries=0,
                max_failed_fraction=1.0,
            ),
            TaskInstance(task_id="submit", run_id=FIRST, map_index=index),
        )
        for index, one in enumerate(requests)
    ]
    landed(manifests, shop.target, response_schema=SCHEMA, max_failed_fraction=1.0)
    assert len(build(shop, SECOND)) == 1


@pytest.mark.parametrize("fault", ["fail", "expire_queued"])
def test_rows_of_a_job_that_failed_are_asked_again(vertex, shop, fault):
    vertex.faults.plan(fault)
    (job,) = submit(shop, build(shop, FIRST), FIRST)
    wait_for(make_client(vertex), VertexJobName.parse(job), JobState.FAILED, JobState.EXPIRED)
    assert len(build(shop, SECOND)) == 1


def test_whoever_wants_all_rows_gets_them(vertex, shop):
    vertex.faults.plan("slow", **SLOW)
    requests = build(shop, FIRST)
    submit(shop, requests, FIRST)
    assert build(shop, SECOND, incremental=False) == requests


def test_rows_for_another_target_are_asked(vertex, shop):
    vertex.faults.plan("slow", **SLOW)
    submit(shop, build(shop, FIRST), FIRST)
    other = shop.target.replace("landed", "elsewhere")
    assert len(build(shop, SECOND, target=other)) == 1


def test_job_that_reads_from_elsewhere_hides_no_row(gemini_batch_stack, vertex, shop, bucket, caplog):
    """Whoever may create jobs in the project can write their labels."""
    vertex.faults.plan("slow", **SLOW)
    requests = build(shop, FIRST)
    foreign = upload(gemini_batch_stack, bucket, "foreign/in.jsonl", [{"key": "978-0", "request": {}}])
    if shop.ending:  # below the bucket, but outside of the folder for requests
        assert not foreign.startswith(f"{shop.place}/requests/")
    submit(shop, [foreign], FIRST, preflight=False)
    assert build(shop, SECOND) == requests
    assert f"reads {foreign}, and builds for this target write to" in caplog.text


def test_build_that_can_t_ask_fails(vertex, shop):
    vertex.faults.plan("error", on="list", times=None, status="UNAVAILABLE")
    with pytest.raises(VertexApiError) as unknown:
        build(shop, SECOND)
    assert unknown.value.retryable


def test_requests_that_are_gone_are_a_warning(gemini_batch_stack, vertex, shop, caplog):
    vertex.faults.plan("slow", **SLOW)
    (requests,) = build(shop, FIRST)
    submit(shop, [requests], FIRST)
    remove(gemini_batch_stack, requests)
    assert len(build(shop, SECOND)) == 1
    assert "Rows that another run has asked may be asked again" in caplog.text


def remove(stack: Any, address: str) -> None:
    from tests.support.requests_data import storage_client
    from tests.support.tables import bigquery_client

    if address.startswith("bq://"):
        bigquery_client(stack).delete_table(address.removeprefix("bq://"))
    else:
        bucket, _, name = address.removeprefix("gs://").partition("/")
        storage_client(stack).bucket(bucket).blob(name).delete()


# Runs that have built the same at the same moment, before there was a job.


def run(source: str, run_id: str, *, began: datetime | None = None, **arguments: Any) -> dict[str, Any]:
    """Run a task of a run to its end, in this process."""
    task = describe(source, deferrable=False, **arguments)
    context = {"ti": TaskInstance(run_id=run_id), "dag_run": SimpleNamespace(start_date=began)}
    manifest: dict[str, Any] = task.execute(context)
    return manifest


def test_same_requests_of_another_run_are_waited_for(vertex, source, caplog):
    vertex.requests.clear()
    vertex.faults.plan("slow", queue_seconds=0.0, run_seconds=0.8)
    first = waiting(describe(source), TaskInstance(run_id=FIRST))
    second = waiting(describe(source), TaskInstance(run_id=SECOND))
    assert second.job_name == first.job_name
    assert (first.cancel_on_kill, second.cancel_on_kill) == (True, False)
    assert f"The run {FIRST} has asked exactly the same" in caplog.text
    assert run(source, SECOND) == run(source, FIRST)
    assert creates(vertex) == 1


@pytest.mark.parametrize(("began", "jobs"), [(-60, 1), (60, 2), (None, 2)])
def test_job_that_ended_while_this_run_was_on_is_taken_and_no_older_one(vertex, source, began, jobs):
    vertex.requests.clear()
    run(source, FIRST)
    start = None if began is None else datetime.now(UTC) + timedelta(seconds=began)
    assert run(source, SECOND, began=start)["counts"]["ok"] == 10
    assert creates(vertex) == jobs


def test_follow_up_is_shared_as_well(vertex, half_of_rows_missing, source):
    vertex.requests.clear()
    began = datetime.now(UTC)
    first = run(source, FIRST)
    assert len(first["rounds"]) == 2
    assert run(source, SECOND, began=began) == first
    assert creates(vertex) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"force_rerun": True},
        {"model": "gemini-2.5-pro"},
        {"model_parameters": {"temperature": 1}},
        {"task_id": "another"},
    ],
    ids=str,
)
def test_other_questions_are_paid_for(vertex, source, change):
    vertex.faults.plan("slow", times=None, **SLOW)
    first = waiting(describe(source), TaskInstance(run_id=FIRST))
    task = describe(source, **change)
    second = waiting(task, TaskInstance(run_id=SECOND, task_id=task.task_id))
    assert second.job_name != first.job_name


def test_answers_at_another_place_are_paid_for(vertex, source, bucket):
    vertex.faults.plan("slow", times=None, **SLOW)
    names = {
        waiting(describe(source, destination=f"gs://{bucket}/{run_id}"), TaskInstance(run_id=run_id)).job_name
        for run_id in (FIRST, SECOND)
    }
    assert len(names) == 2


def test_file_that_was_written_anew_is_another_question(gemini_batch_stack, vertex, bucket, source):
    from tests.support.requests_data import lines

    vertex.faults.plan("slow", times=None, **SLOW)
    first = waiting(describe(source), TaskInstance(run_id=FIRST))
    upload(gemini_batch_stack, bucket, "in/prompts.jsonl", lines(gemini_batch_stack, source))
    assert waiting(describe(source), TaskInstance(run_id=SECOND)).job_name != first.job_name


def test_of_two_runs_that_create_at_the_same_moment_the_later_gives_up(vertex, source, caplog):
    vertex.faults.plan("slow", times=None, **SLOW)
    first = waiting(describe(source), TaskInstance(run_id=FIRST))
    # Neither sees the other's job before it creates its own.
    vertex.faults.plan("stale_list", seconds=3600.0, times=2)
    second = waiting(describe(source), TaskInstance(run_id=SECOND))
    assert second.job_name == first.job_name
    assert "asked exactly the same a moment before: cancelling" in caplog.text
    client = make_client(vertex)
    (later,) = (
        job.name for job in client.list() if job.requests == (source,) and str(job.name) != first.job_name
    )
    wait_for(client, later, JobState.CANCELLED)
    assert client.get(VertexJobName.parse(first.job_name)).state is JobState.PENDING


def test_job_of_another_run_that_was_cancelled_is_replaced(vertex, source):
    vertex.faults.plan("slow", **SLOW)
    first = waiting(describe(source), TaskInstance(run_id=FIRST))
    second = describe(source)
    trigger = waiting(second, TaskInstance(run_id=SECOND))
    client = make_client(vertex)
    name = VertexJobName.parse(first.job_name)
    client.cancel(name)
    wait_for(client, name, JobState.CANCELLED)
    event = {"version": 1, "outcome": "ended", "job_name": trigger.job_name, "state": "", "message": ""}
    with pytest.raises(TaskDeferred) as deferred:
        second.resume({"ti": TaskInstance(run_id=SECOND)}, event, adopted=True)
    assert deferred.value.trigger.job_name != first.job_name


def test_nothing_is_created_when_other_runs_can_t_be_asked_for(vertex, source):
    vertex.requests.clear()
    vertex.faults.plan("error", on="list", skip=1, times=1, status="UNAVAILABLE")
    with pytest.raises(VertexApiError, match="listing the jobs"):
        describe(source).execute({"ti": TaskInstance(run_id=SECOND)})
    assert creates(vertex) == 0
