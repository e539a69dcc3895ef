"""Sensors wait for the whole result of a submission: all map indexes of one run, and their follow-ups."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_gemini_batch import (
    GeminiBatchHook,
    GeminiBatchJobSensor,
    GeminiBatchOutputFilesSensor,
    GeminiBatchOutputTableSensor,
    SubmitGeminiBatchOperator,
    version_compat,
)
from airflow_gemini_batch.core.labels import former_airflow_labels
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.triggers.probes import TaskRunProbe
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import make_client, seed, wait_for
from tests.support.requests_data import request, upload
from tests.support.tables import fill, make_dataset
from tests.support.tasks import TaskInstance, run_task

NIGHT = datetime(2026, 11, 26, tzinfo=UTC)
RUN = "scheduled__2026-11-26T00:00:00+00:00"
ROWS = 6


@pytest.fixture
def outside_airflow(monkeypatch):
    """No Airflow answers, as for a DAG of another Airflow."""
    monkeypatch.setattr(version_compat, "task_states", lambda *_: {})


class Submission:
    """A task that submits, step by step, as the triggerer leads it."""

    def __init__(
        self, vertex: Any, dag_id: str, map_index: int = -1, date: datetime = NIGHT, **arguments: Any
    ):
        self._vertex = vertex
        self._task = SubmitGeminiBatchOperator(
            task_id="describe", model="gemini-2.5-flash", preflight=False, **arguments
        )
        run_id = RUN if date == NIGHT else f"scheduled__{date.isoformat()}"
        self._context = {
            "ti": TaskInstance(dag_id=dag_id, run_id=run_id, map_index=map_index),
            "logical_date": date,
        }
        self.name = ""
        self.manifest: dict[str, Any] = {}
        self._go("execute")

    def wait(self) -> Submission:
        """Wait until the job has ended, without telling the task."""
        wait_for(make_client(self._vertex), VertexJobName.parse(self.name), JobState.SUCCEEDED)
        return self

    def resume(self) -> Submission:
        """Tell the task."""
        event = {"version": 1, "outcome": "ended", "job_name": self.name, "state": "", "message": ""}
        self._go("resume", event)
        return self

    def _go(self, method: str, *event: Any) -> None:
        try:
            self.manifest = getattr(self._task, method)(self._context, *event)
        except TaskDeferred as deferred:
            self.name = deferred.trigger.job_name

    @property
    def links(self) -> dict[str, str]:
        return self._context["ti"].xcoms


@pytest.fixture
def submit(gemini_batch_stack, vertex, bucket):
    """Submit files to a prefix."""

    def submit(*, number: int = 0, **more: Any) -> Submission:
        rows = [request(f"{number}.{n}") for n in range(ROWS)]
        source = upload(gemini_batch_stack, bucket, f"in{number}.jsonl", rows)
        arguments = {
            "requests": source,
            "destination": f"gs://{bucket}/out",
            "max_failed_fraction": 1.0,
            **more,
        }
        return Submission(vertex, f"shop.{bucket}", **arguments)

    return submit


def poke(kind: Any, **arguments: Any) -> Any:
    """Check once."""
    task = kind(task_id="ready", deferrable=False, **arguments)
    return task.poke({"ti": TaskInstance(), "logical_date": NIGHT})


@pytest.fixture(params=["files", "table"])
def stored(request, gemini_batch_stack, vertex, submit, bucket):
    """Submit from files to files or from a table to a table; returns the submission, and the sensor of its output."""
    if request.param == "files":
        files = {"prefix": f"gs://{bucket}/out", "expected_rows": f"gs://{bucket}/in0.jsonl"}
        return lambda **more: submit(**more), GeminiBatchOutputFilesSensor, files
    dataset = make_dataset(gemini_batch_stack)
    from tests.support.requests_data import request as prompt

    rows = [{"id": str(n), **prompt(str(n))} for n in range(ROWS)]
    source = fill(gemini_batch_stack, f"{dataset}.requests", {"id": "STRING", "request": "JSON"}, rows)

    def submit_table(**more: Any) -> Submission:
        arguments = {
            "requests": source,
            "destination": f"{dataset}.answers",
            "max_failed_fraction": 1.0,
            **more,
        }
        return Submission(vertex, bucket, **arguments)

    table = {"table": f"{dataset}.answers", "expected_rows": source}
    return submit_table, GeminiBatchOutputTableSensor, table


def test_output_is_that_of_all_rounds(vertex, stored):
    submit, sensor, output = stored
    vertex.faults.plan("all_rows_failed" if "prefix" in output else "missing_rows")
    submitted = submit().wait()
    first = submitted.name
    # The task has not heard of the end yet.
    assert not poke(sensor, **output).is_done
    assert not poke(sensor, **output, job_name=first).is_done
    assert not poke(GeminiBatchJobSensor, job_name=first).is_done
    submitted.resume()
    assert submitted.name != first
    submitted.wait().resume()
    for found in (
        poke(sensor, **output).xcom_value,
        poke(sensor, **output, job_name=first).xcom_value,
        poke(sensor, **output, job_name=submitted.name).xcom_value,
    ):
        assert (found["rows"], found["failed"]) == (ROWS, 0)
        assert found["outputs"] == submitted.manifest["outputs"]
    whole = poke(GeminiBatchJobSensor, job_name=first).xcom_value
    assert whole["jobs"] == [first, submitted.name]
    assert whole["outputs"] == submitted.manifest["outputs"]
    assert (whole["job_name"], whole["output"]) == (first, submitted.manifest["outputs"][0])


def test_output_without_a_follow_up_is_judged_as_it_is(vertex, stored):
    submit, sensor, output = stored
    vertex.faults.plan("all_rows_failed")
    submit(max_row_retries=0).wait()
    with pytest.raises(AirflowFailException, match=f"has {ROWS} rows, {ROWS} of them failed"):
        poke(sensor, **output)


def test_follow_up_that_does_not_come_in_time_is_not_waited_for(vertex, stored):
    submit, sensor, output = stored
    vertex.faults.plan("missing_rows", share=0.5)
    name = submit().wait().name
    assert not poke(sensor, **output, max_failed_fraction=0.5).is_done
    found = poke(sensor, **output, max_failed_fraction=0.5, follow_up_wait=0.0).xcom_value
    assert (found["rows"], found["failed"]) == (ROWS, ROWS // 2)
    assert poke(GeminiBatchJobSensor, job_name=name, follow_up_wait=0.0).is_done


def test_links_lead_to_the_first_job_and_to_the_follow_up(vertex, submit):
    vertex.faults.plan("all_rows_failed")
    submitted = submit().wait()
    first = submitted.name
    submitted.resume().wait().resume()
    assert first.rpartition("/")[2] in submitted.links["vertex_ai_batch_job_url"]
    assert submitted.name.rpartition("/")[2] in submitted.links["vertex_ai_follow_up_job_url"]


def test_failed_submission_names_the_outputs_and_pages_of_all_rounds(vertex, submit):
    vertex.faults.plan("all_rows_failed", times=2)
    submitted = submit(max_failed_fraction=0.0).wait()
    first = submitted.name
    submitted.resume().wait()
    with pytest.raises(AirflowFailException) as failed:
        submitted.resume()
    message = str(failed.value)
    for number, name in enumerate((first, submitted.name)):
        job = GeminiBatchHook().get_conn().get(VertexJobName.parse(name))
        title = f"Follow-up {number}" if number else "Job"
        assert re.search(
            rf"^{title} +SUCCEEDED, {ROWS} retryable; .*\n +{name}\n +{re.escape(job.name.console_url)}\n"
            rf"Answers +{job.output}",
            message,
            re.MULTILINE,
        )


# The jobs of a DAG of another Airflow are told by their labels.


def job_of(dag_id: str, **more: Any) -> Any:
    return poke(GeminiBatchJobSensor, external_dag_id=dag_id, external_task_id="describe", **more)


@pytest.mark.usefixtures("outside_airflow")
def test_all_mapped_jobs_of_the_own_logical_date_are_waited_for(vertex, submit, bucket):
    submit(date=NIGHT - timedelta(days=1)).wait()
    assert not job_of(f"shop.{bucket}").is_done, "last night's job was taken"
    vertex.faults.plan("all_rows_failed")
    one = submit(number=1, map_index=0)
    two = submit(number=2, map_index=1).wait()
    one.wait()
    assert not job_of(f"shop.{bucket}").is_done, "the follow-up was not waited for"
    one.resume().wait().resume()
    two.resume()
    assert not job_of(f"shop.{bucket}", expected_jobs=3).is_done
    found = job_of(f"shop.{bucket}", expected_jobs=2).xcom_value
    assert sorted(found["outputs"]) == sorted(one.manifest["outputs"] + two.manifest["outputs"])
    assert len(found["outputs"]) == 3
    assert job_of(f"shop.{bucket}", external_run_id=RUN).xcom_value == found
    assert job_of(f"shop.{bucket}", external_logical_date=NIGHT.isoformat()).xcom_value == found
    assert not job_of(f"shop-{bucket}").is_done, "a DAG of the same cleaned name was taken"


def test_mapped_jobs_below_one_prefix_are_one_result(vertex, submit, bucket):
    vertex.faults.plan("missing_rows")
    one, two = submit(number=1, map_index=0), submit(number=2, map_index=1)
    one.wait().resume().wait().resume()
    two.wait().resume()
    found = poke(GeminiBatchOutputFilesSensor, prefix=f"gs://{bucket}/out", expected_rows=2 * ROWS).xcom_value
    assert (found["rows"], found["failed"], len(found["outputs"])) == (2 * ROWS, 0, 3)


@pytest.mark.usefixtures("outside_airflow")
@pytest.mark.parametrize("dag_id", ["sales.daily", "sales-daily"])
def test_jobs_of_earlier_releases_are_found(vertex, bucket, dag_id):
    run_id = f"manual__{bucket}.1"
    labels = {**former_airflow_labels(dag_id, "describe", run_id), "gemini_batch_id": bucket}
    (name,) = seed(vertex, labels=labels, run_seconds=0.0)
    wait_for(make_client(vertex), name, JobState.SUCCEEDED)
    found = job_of(dag_id, external_run_id=run_id, follow_up_wait=0.0)
    assert found.xcom_value["job_name"] == str(name)


# What Airflow says of the task decides.

TASK = "describe"


@pytest.mark.parametrize(
    ("states", "readiness", "reason"),
    [
        pytest.param({TASK: None}, "not_yet", "has not ended: describe", id="not-started"),
        pytest.param({TASK: "deferred"}, "not_yet", "has not ended: describe", id="waits"),
        pytest.param({TASK: "up_for_retry"}, "not_yet", "has not ended", id="will-be-tried-again"),
        pytest.param(
            {f"{TASK}_0": "success", f"{TASK}_1": "queued"}, "not_yet", "describe_1", id="one-is-queued"
        ),
        pytest.param(
            {f"{TASK}_0": "running", f"{TASK}_1": "failed"}, "never", "failed: describe_1", id="one-failed"
        ),
        pytest.param({TASK: "upstream_failed"}, "never", "has failed", id="upstream-failed"),
        pytest.param({TASK: "skipped"}, "nothing", "was skipped", id="nothing-to-ask"),
        pytest.param({TASK: "success"}, "never", "has submitted no batch job", id="no-job"),
    ],
)
def test_state_of_the_task_decides(gemini_batch_stack, monkeypatch, states, readiness, reason):
    monkeypatch.setattr(version_compat, "task_states", lambda *_: {RUN: states})
    monkeypatch.setattr(version_compat, "task_result", lambda *_: None)
    probe = TaskRunProbe("nobody", TASK, logical_date=NIGHT.isoformat())
    check = probe.check(GeminiBatchHook())
    assert check.state == readiness
    assert reason in check.reason


def test_task_that_does_not_exist_fails_the_sensor(gemini_batch_stack, monkeypatch):
    monkeypatch.setattr(
        version_compat, "task_states", lambda _, task, *__: {} if task else {RUN: {"load": None}}
    )
    with pytest.raises(AirflowFailException, match="has no task describe"):
        job_of("nightly")


def test_skipped_task_skips_the_sensor(gemini_batch_stack, monkeypatch):
    monkeypatch.setattr(version_compat, "task_states", lambda *_: {RUN: {TASK: "skipped"}})
    for deferrable in (True, False):
        sensor = GeminiBatchJobSensor(
            task_id="s",
            external_dag_id="n",
            external_task_id=TASK,
            external_run_id=RUN,
            deferrable=deferrable,
        )
        with pytest.raises(AirflowSkipException):
            run_task(sensor)


@pytest.mark.parametrize("question", ["task_states", "task_result"])
def test_airflow_that_does_not_answer_is_asked_again(gemini_batch_stack, monkeypatch, question):
    def refuse(*_: Any) -> Any:
        raise ConnectionError("the API server is restarting")

    monkeypatch.setattr(version_compat, "task_states", lambda *_: {RUN: {TASK: "success"}})
    monkeypatch.setattr(version_compat, question, refuse)
    assert not job_of("nightly").is_done


def test_run_without_a_logical_date_has_to_name_the_run(gemini_batch_stack):
    sensor = GeminiBatchJobSensor(task_id="s", external_dag_id="n", external_task_id=TASK)
    with pytest.raises(AirflowFailException, match="Give external_run_id or external_logical_date"):
        sensor.execute({"ti": TaskInstance(), "logical_date": None})


def test_sensor_does_not_wait_for_itself(gemini_batch_stack):
    with DAG("nightly", schedule=None):
        sensor = GeminiBatchJobSensor(task_id="s", external_dag_id="nightly")
    with pytest.raises(AirflowFailException, match="and so for itself"):
        sensor.execute({"ti": TaskInstance(), "logical_date": NIGHT})
