"""The sensors against the local servers, with output in files."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_gemini_batch import GeminiBatchJobSensor, GeminiBatchOutputFilesSensor, SubmitGeminiBatchOperator
from tests.support.requests_data import BAD_REQUEST, request, upload
from tests.support.tasks import TaskInstance, run_task

WAYS = pytest.mark.parametrize("deferrable", [True, False], ids=["deferrable", "waiting"])


@pytest.fixture
def submit(gemini_batch_stack, bucket):
    """Submit a job and return its name, without waiting for it."""

    def submit(rows, *, ti=None, name="in.jsonl", **arguments):
        source = upload(gemini_batch_stack, bucket, name, rows)
        task = SubmitGeminiBatchOperator(
            task_id="describe", model="gemini-3.8-flash", requests=source, preflight=False, **arguments
        )
        with pytest.raises(TaskDeferred) as deferred:
            task.execute({"ti": ti or TaskInstance(dag_id=bucket)})
        return deferred.value.trigger.job_name

    return submit


def sensor(kind, deferrable, **arguments):
    return kind(task_id="ready", deferrable=deferrable, poke_interval=0.1, timeout=120, **arguments)


@WAYS
def test_job_sensor_waits_for_a_job_by_name(submit, deferrable):
    name = submit([request("a")])
    found = run_task(sensor(GeminiBatchJobSensor, deferrable, job_name=name))
    assert found["job_name"] == name
    assert found["state"] == "JOB_STATE_SUCCEEDED"
    assert "/prediction-model-" in found["output"]


@WAYS
def test_job_sensor_finds_the_job_of_another_dag_s_run(submit, bucket, deferrable):
    run_id = "manual__2026-11-22T01:02:03+00:00"
    name = submit([request("a")], ti=TaskInstance(dag_id=bucket, run_id=run_id))
    submit([request("a")], ti=TaskInstance(dag_id=bucket, run_id="another"), name="another.jsonl")
    found = run_task(
        sensor(
            GeminiBatchJobSensor,
            deferrable,
            external_dag_id=bucket,
            external_task_id="describe",
            external_run_id=run_id,
        )
    )
    assert found["job_name"] == name


@WAYS
def test_job_sensor_fails_at_once_with_the_reason(gemini_batch_stack, submit, deferrable):
    gemini_batch_stack.vertex.faults.plan("fail", status="INTERNAL", message="the disk is full")
    name = submit([request("a")])
    with pytest.raises(AirflowFailException, match="the disk is full"):
        run_task(sensor(GeminiBatchJobSensor, deferrable, job_name=name))


@WAYS
def test_job_that_failed_skips_a_soft_sensor(gemini_batch_stack, submit, deferrable):
    gemini_batch_stack.vertex.faults.plan("fail")
    name = submit([request("a")])
    with pytest.raises(AirflowSkipException):
        run_task(sensor(GeminiBatchJobSensor, deferrable, job_name=name, soft_fail=True))


def test_job_sensor_goes_on_while_there_is_no_such_job(gemini_batch_stack, bucket):
    task = sensor(GeminiBatchJobSensor, False, external_dag_id=f"never-{bucket}")
    assert not task.poke({"logical_date": datetime(2026, 11, 22, tzinfo=UTC)}).is_done


def test_sensor_survives_errors_of_the_service(gemini_batch_stack, submit):
    name = submit([request("a")])
    gemini_batch_stack.vertex.faults.plan("error", on="get", times=3, status="UNAVAILABLE")
    gemini_batch_stack.vertex.faults.plan("empty_answer", on="get", times=1)
    assert run_task(sensor(GeminiBatchJobSensor, True, job_name=name))["state"] == "JOB_STATE_SUCCEEDED"


@WAYS
def test_files_sensor_compares_with_the_requests(submit, bucket, deferrable):
    submit([request(f"{n}") for n in range(7)], destination=f"gs://{bucket}/out")
    found = run_task(
        sensor(
            GeminiBatchOutputFilesSensor,
            deferrable,
            prefix=f"gs://{bucket}/out",
            expected_rows=f"gs://{bucket}/in.jsonl",
        )
    )
    assert found == {
        "output": f"gs://{bucket}/out",
        "rows": 7,
        "failed": 0,
        "outputs": [f"gs://{bucket}/out"],
    }


def test_files_sensor_takes_a_number_rendered_as_text(submit, bucket):
    submit([request("a"), request("b")], destination=f"gs://{bucket}/out")
    task = sensor(GeminiBatchOutputFilesSensor, True, prefix=f"gs://{bucket}/out", expected_rows="2")
    assert run_task(task)["rows"] == 2


def test_files_that_are_still_filling_are_not_ready(gemini_batch_stack, bucket):
    name = "out/prediction-model-2026-11-22T00:00:00Z/predictions.jsonl"
    upload(gemini_batch_stack, bucket, name, [{"status": "", "response": {}}])
    task = sensor(GeminiBatchOutputFilesSensor, False, prefix=f"gs://{bucket}/out", expected_rows=2)
    assert not task.poke({}).is_done


def test_files_sensor_without_output_waits(gemini_batch_stack, bucket):
    task = sensor(GeminiBatchOutputFilesSensor, False, prefix=f"gs://{bucket}/out", expected_rows=2)
    assert not task.poke({}).is_done


def test_files_sensor_fails_with_the_job_instead_of_poking_on(gemini_batch_stack, submit, bucket):
    gemini_batch_stack.vertex.faults.plan("expire_queued")
    name = submit([request("a")], destination=f"gs://{bucket}/out")
    task = sensor(
        GeminiBatchOutputFilesSensor, True, prefix=f"gs://{bucket}/out", expected_rows=1, job_name=name
    )
    with pytest.raises(AirflowFailException, match="EXPIRED"):
        run_task(task)


def test_files_sensor_fails_when_too_many_rows_failed(submit, bucket):
    name = submit([request("a"), BAD_REQUEST], destination=f"gs://{bucket}/out")
    task = sensor(GeminiBatchOutputFilesSensor, True, prefix=f"gs://{bucket}/out", job_name=name)
    with pytest.raises(
        AirflowFailException, match=r"1 of them failed \(50\.00%\), and max_failed_fraction allows 5\.00%"
    ):
        run_task(task)


def test_files_sensor_refuses_the_output_of_several_jobs(submit, bucket):
    for run in ("one", "two"):
        name = submit(
            [request("a")], ti=TaskInstance(dag_id=bucket, run_id=run), destination=f"gs://{bucket}/out"
        )
        run_task(sensor(GeminiBatchJobSensor, True, job_name=name))
    task = sensor(GeminiBatchOutputFilesSensor, True, prefix=f"gs://{bucket}/out", expected_rows=1)
    with pytest.raises(AirflowFailException, match="has the output of 2 jobs"):
        run_task(task)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GeminiBatchJobSensor, {}, "give either job_name, or external_dag_id"),
        (GeminiBatchJobSensor, {"job_name": "x", "labels": {"a": "b"}}, "give either job_name"),
        (GeminiBatchJobSensor, {"job_name": "12345"}, "is not the name of a batch job"),
        (GeminiBatchOutputFilesSensor, {"prefix": "gs://bucket/out"}, "give expected_rows or job_name"),
        (
            GeminiBatchOutputFilesSensor,
            {"prefix": "bq://project-1.d.t", "expected_rows": 1},
            "prefix: expected a gs:// folder, got",
        ),
        (GeminiBatchOutputFilesSensor, {"prefix": "bucket/out", "expected_rows": 1}, "write gs://bucket/out"),
        (
            GeminiBatchOutputFilesSensor,
            {"prefix": "gs://bucket/out", "expected_rows": -1},
            "expected_rows: expected 0 or more",
        ),
        (
            GeminiBatchOutputFilesSensor,
            {"prefix": "gs://bucket/out", "expected_rows": "many"},
            "expected_rows: 'many' has no scheme",
        ),
    ],
)
def test_refuses_what_makes_no_sense(gemini_batch_stack, kind, arguments, message):
    with pytest.raises(AirflowFailException) as refused:
        run_task(sensor(kind, True, **arguments))
    assert message in str(refused.value)
