"""GeminiBatchOutputTableSensor against the local servers."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_gemini_batch import GeminiBatchOutputTableSensor, SubmitGeminiBatchOperator
from tests.outputs.row_shapes import candidate
from tests.support.requests_data import BAD_REQUEST, request
from tests.support.tables import fill, make_dataset
from tests.support.tasks import TaskInstance, run_task

WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "waiting"])

ANSWERS = {"response": "JSON", "status": "STRING"}
GOOD = {"response": candidate(), "status": ""}
BAD = {"response": {}, "status": 'Bad Request: {"error": {"code": 400}}'}


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def answers(gemini_batch_stack, dataset):
    """Append rows to the output table, and return its address."""

    def answers(rows: list[dict[str, Any]]) -> str:
        return fill(gemini_batch_stack, f"{dataset}.answers", ANSWERS, rows)

    return answers


@pytest.fixture
def submit(gemini_batch_stack, dataset):
    """Submit a job from one table to another and return the job's name, without waiting for it."""

    def submit(*lines: dict[str, Any]) -> str:
        rows = [{"request": line["request"]} for line in lines]
        source = fill(gemini_batch_stack, f"{dataset}.requests", {"request": "JSON"}, rows)
        task = SubmitGeminiBatchOperator(
            task_id="describe",
            model="gemini-3.8-flash",
            requests=source,
            destination=f"{dataset}.answers",
            preflight=False,
        )
        with pytest.raises(TaskDeferred) as deferred:
            task.execute({"ti": TaskInstance()})
        name: str = deferred.value.trigger.job_name
        return name

    return submit


def sensor(table: str, *, deferrable: bool = True, **arguments: Any) -> GeminiBatchOutputTableSensor:
    return GeminiBatchOutputTableSensor(
        task_id="ready", table=table, deferrable=deferrable, poke_interval=0.1, timeout=120, **arguments
    )


@WAYS
def test_waits_for_as_many_rows_as_expected(dataset, submit, deferrable):
    submit(request("a"), request("b"))
    task = sensor(f"{dataset}.answers", deferrable=deferrable, expected_rows=2)
    assert run_task(task) == {
        "output": f"{dataset}.answers",
        "rows": 2,
        "failed": 0,
        "outputs": [f"{dataset}.answers"],
    }


@WAYS
def test_waits_for_as_many_rows_as_there_are_requests(dataset, submit, deferrable):
    submit(request("a"), request("b"), request("c"))
    task = sensor(f"{dataset}.answers", deferrable=deferrable, expected_rows=f"{dataset}.requests")
    assert run_task(task)["rows"] == 3


@WAYS
def test_waits_for_the_end_of_the_job(dataset, submit, deferrable):
    name = submit(request("a"))
    task = sensor(f"{dataset}.answers", deferrable=deferrable, job_name=name)
    assert run_task(task)["rows"] == 1


def test_takes_a_number_rendered_as_text(answers):
    assert run_task(sensor(answers([GOOD, GOOD]), expected_rows="2"))["rows"] == 2


def test_table_that_is_still_filling_is_not_ready(answers):
    task = sensor(answers([GOOD]), deferrable=False, expected_rows=2)
    assert not task.poke({}).is_done
    answers([GOOD])
    assert task.poke({}).is_done


def test_complete_table_of_a_job_at_work_is_not_ready(gemini_batch_stack, dataset, submit):
    gemini_batch_stack.vertex.faults.plan("slow", queue_seconds=0.0)
    name = submit(request("a"))
    fill(gemini_batch_stack, f"{dataset}.answers", ANSWERS, [GOOD])
    task = sensor(f"{dataset}.answers", deferrable=False, expected_rows=1, job_name=name)
    assert not task.poke({}).is_done


def test_table_that_does_not_exist_yet_is_not_ready(dataset):
    task = sensor(f"{dataset}.answers", deferrable=False, expected_rows=1)
    assert not task.poke({}).is_done


def test_requests_that_do_not_exist_yet_are_waited_for(dataset, answers):
    task = sensor(answers([GOOD]), deferrable=False, expected_rows=f"{dataset}.requests")
    assert not task.poke({}).is_done


@WAYS
def test_fails_when_too_many_rows_failed(answers, deferrable):
    task = sensor(answers([GOOD, BAD]), deferrable=deferrable, expected_rows=2)
    with pytest.raises(AirflowFailException, match="has 2 rows, 1 of them failed"):
        run_task(task)


def test_succeeds_when_few_enough_rows_failed(dataset, submit):
    name = submit(request("a"), BAD_REQUEST)
    found = run_task(sensor(f"{dataset}.answers", job_name=name, max_failed_fraction=0.5))
    assert (found["rows"], found["failed"]) == (2, 1)


def test_too_many_failed_rows_skip_a_soft_sensor(answers):
    with pytest.raises(AirflowSkipException):
        run_task(sensor(answers([BAD]), expected_rows=1, soft_fail=True))


@WAYS
def test_fails_with_the_job_instead_of_poking_on(gemini_batch_stack, dataset, submit, deferrable):
    gemini_batch_stack.vertex.faults.plan("fail", status="INTERNAL", message="the disk is full")
    name = submit(request("a"))
    task = sensor(f"{dataset}.answers", deferrable=deferrable, expected_rows=1, job_name=name)
    with pytest.raises(AirflowFailException, match="the disk is full"):
        run_task(task)


def test_lost_table_of_a_job_that_succeeded_fails(gemini_batch_stack, dataset, submit):
    gemini_batch_stack.vertex.faults.plan("lose_output")
    name = submit(request("a"))
    with pytest.raises(AirflowFailException, match=f"there is no output at {dataset}.answers, though"):
        run_task(sensor(f"{dataset}.answers", job_name=name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": "demo-project.d.t", "expected_rows": 1}, "write bq://demo-project.d.t"),
        (
            {"table": "bq://demo-project.d", "expected_rows": 1},
            "table: expected bq://PROJECT.DATASET.TABLE, got",
        ),
        ({"table": "gs://bucket/out", "expected_rows": 1}, "table: expected bq://PROJECT.DATASET.TABLE, got"),
        ({"table": "bq://demo-project.d.t"}, "give expected_rows or job_name"),
        ({"table": "bq://demo-project.d.t", "job_name": "42"}, "is not the name of a batch job"),
        (
            {"table": "bq://demo-project.d.t", "expected_rows": "bq://demo-project.d"},
            "Name the table as well",
        ),
    ],
)
def test_refuses_what_makes_no_sense(gemini_batch_stack, arguments, message):
    with pytest.raises(AirflowFailException) as refused:
        run_task(sensor(**arguments))
    assert message in str(refused.value)
