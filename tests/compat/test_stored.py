"""What release 0.x has stored, word for word: trigger arguments, events, manifests, results.

They lie in Airflow's database when a later release is installed, so it has to read them. Never change a text of this
file; a new shape is a new text beside the old ones.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_gemini_batch import (
    GeminiBatchJobSensor,
    GeminiBatchOutputTableSensor,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.exceptions import JobLostError, JobTimeoutError
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.jobs.readiness import job_readiness, rows_readiness
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.jobs.submission import parse_requests
from airflow_gemini_batch.requests.spec import BuildReport
from airflow_gemini_batch.triggers.probes import probe_from_json, probe_to_json
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import make_client, wait_for
from tests.support.requests_data import request, upload
from tests.support.tasks import TaskInstance
from tests.support.texts import flat

JOB = "projects/1234567890/locations/us-central1/batchPredictionJobs/42"

TRIGGERS = [
    pytest.param(text, id=name)
    for name, text in {
        "job": """["airflow_gemini_batch.triggers.gemini_batch.GeminiBatchJobTrigger",
            {"job_name": "projects/1234567890/locations/us-central1/batchPredictionJobs/42",
             "submitted_at": 1764547200.5, "gcp_conn_id": "google_cloud_default",
             "impersonation_chain": ["a@p.iam.gserviceaccount.com"], "poll_interval": 60.0,
             "queue_timeout": 259200.0, "run_timeout": 86400.0, "cancel_on_kill": true}]""",
        "readiness of a job": """["airflow_gemini_batch.triggers.readiness.GeminiBatchReadinessTrigger",
            {"probe": {"kind": "job", "job_name":
             "projects/1/locations/us-central1/batchPredictionJobs/42", "labels": null}, "gcp_conn_id": "c",
             "project_id": null, "location": "us-central1", "impersonation_chain": null,
             "poll_interval": 60.0}]""",
        "readiness of a labelled job": """["airflow_gemini_batch.triggers.readiness.GeminiBatchReadinessTrigger",
            {"probe": {"kind": "job", "job_name": null, "labels": {"airflow_dag": "nightly"}},
             "gcp_conn_id": "c", "project_id": null, "location": "us-central1", "impersonation_chain": null,
             "poll_interval": 60.0}]""",
        "readiness of a table": """["airflow_gemini_batch.triggers.readiness.GeminiBatchReadinessTrigger",
            {"probe": {"kind": "output", "output": "bq://my-shop.books.answers", "expected_rows": 7,
             "expected_from": [], "max_failed_fraction": 0.05, "job_name": null}, "gcp_conn_id": "c",
             "project_id": null, "location": "us-central1", "impersonation_chain": null,
             "poll_interval": 60.0}]""",
        "readiness of files": """["airflow_gemini_batch.triggers.readiness.GeminiBatchReadinessTrigger",
            {"probe": {"kind": "output", "output": "gs://shop/out", "expected_rows": null,
             "expected_from": ["gs://shop/in.jsonl"], "max_failed_fraction": 0.0, "job_name":
             "projects/1/locations/us-central1/batchPredictionJobs/42"}, "gcp_conn_id": "c",
             "project_id": null, "location": "us-central1", "impersonation_chain": null,
             "poll_interval": 60.0}]""",
        "readiness of a task run": """["airflow_gemini_batch.triggers.readiness.GeminiBatchReadinessTrigger",
            {"probe": {"kind": "task_run", "dag_id": "sales.daily", "task_id": "ask", "run_id": null,
             "logical_date": "2026-11-26T00:00:00+00:00", "labels": null}, "gcp_conn_id": "c",
             "project_id": null, "location": "us-central1", "impersonation_chain": null,
             "poll_interval": 60.0}]""",
    }.items()
]


@pytest.mark.parametrize("text", TRIGGERS)
def test_triggers_are_made_again(text: str) -> None:
    path, arguments = json.loads(text)
    module, _, name = path.rpartition(".")
    trigger = getattr(import_module(module), name)(**arguments)
    assert trigger.serialize() == (path, arguments)
    if probe := arguments.get("probe"):
        assert probe_to_json(probe_from_json(probe)) == probe
    else:
        assert str(VertexJobName.parse(trigger.job_name)) == JOB


@pytest.fixture
def deferred(gemini_batch_stack: Any, bucket: str) -> tuple[SubmitGeminiBatchOperator, str]:
    """A task that waits in the triggerer, and its job, which succeeds."""
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    task = SubmitGeminiBatchOperator(
        task_id="describe", model="gemini-2.5-flash", requests=source, on_timeout="leave"
    )
    with pytest.raises(TaskDeferred) as waiting:
        task.execute({"ti": TaskInstance(run_id=bucket)})
    return task, waiting.value.trigger.job_name


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(
            '{"version": 1, "outcome": "ended", "job_name": "%s", "state": "JOB_STATE_SUCCEEDED", "message": ""}',
            None,
            id="ended",
        ),
        pytest.param(
            '{"version": 1, "outcome": "timed_out", "job_name": "%s", "state": "JOB_STATE_PENDING", '
            '"message": "it has been waiting to start since 2025-12-01 00:00 UTC"}',
            JobTimeoutError,
            id="timed-out",
        ),
        pytest.param(
            '{"version": 1, "outcome": "lost", "job_name": "%s", "state": "JOB_STATE_UNSPECIFIED", '
            '"message": "the service gave no answer about it for too long"}',
            JobLostError,
            id="lost",
        ),
    ],
)
# Up to 0.x, a deferral without the argument is that of a job which the task has created itself.
@pytest.mark.parametrize("arguments", ["{}", '{"adopted": true}'])
def test_events_of_the_job_trigger_are_read(gemini_batch_stack, deferred, text, error, arguments):
    task, name = deferred
    context, event = {"ti": TaskInstance()}, json.loads(text % name)
    if error is None:
        wait_for(make_client(gemini_batch_stack.vertex), VertexJobName.parse(name), JobState.SUCCEEDED)
        assert task.resume(context, event, **json.loads(arguments))["counts"]["ok"] == 1
        return
    # A name that the service does not know, so that nothing has ended meanwhile.
    event["job_name"] = f"{name}0"
    with pytest.raises(error) as raised:
        task.resume(context, event, **json.loads(arguments))
    assert event["message"] in flat(raised.value)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        pytest.param(
            '{"version": 1, "readiness": "ready", "reason": "there", "result": {"job_name": '
            '"projects/1234567890/locations/us-central1/batchPredictionJobs/42", '
            '"state": "JOB_STATE_SUCCEEDED", "output": "gs://shop/out/prediction-model-1"}}',
            {"job_name": JOB, "state": "JOB_STATE_SUCCEEDED", "output": "gs://shop/out/prediction-model-1"},
            id="job",
        ),
        pytest.param(
            '{"version": 1, "readiness": "ready", "reason": "there", "result": {"output": '
            '"bq://my-shop.books.answers", "rows": 7, "failed": 0}}',
            {"output": "bq://my-shop.books.answers", "rows": 7, "failed": 0},
            id="output",
        ),
        pytest.param(
            '{"version": 1, "readiness": "ready", "reason": "there", "result": {"run_id": "r", "job_name": '
            '"projects/1234567890/locations/us-central1/batchPredictionJobs/42", "state": "JOB_STATE_SUCCEEDED", '
            '"output": "gs://shop/out/1", "jobs": ["projects/1234567890/locations/us-central1/'
            'batchPredictionJobs/42"], "outputs": ["gs://shop/out/1", "gs://shop/out/2"]}}',
            {
                "run_id": "r",
                "job_name": JOB,
                "state": "JOB_STATE_SUCCEEDED",
                "output": "gs://shop/out/1",
                "jobs": [JOB],
                "outputs": ["gs://shop/out/1", "gs://shop/out/2"],
            },
            id="task-run",
        ),
        pytest.param(
            '{"version": 1, "readiness": "never", "reason": "it failed", "result": null}', None, id="never"
        ),
    ],
)
def test_events_of_the_readiness_trigger_are_read(text: str, result: dict[str, Any] | None) -> None:
    sensor = GeminiBatchJobSensor(task_id="ready", job_name=JOB)
    soft = GeminiBatchOutputTableSensor(task_id="soft", table="bq://a.b.c", expected_rows=1, soft_fail=True)
    if result is None:
        with pytest.raises(AirflowFailException, match="it failed"):
            sensor.resume({}, json.loads(text))
        with pytest.raises(AirflowSkipException):
            soft.resume({}, json.loads(text))
    else:
        assert sensor.resume({}, json.loads(text)) == result


ROUND = """{"job_name": "projects/1234567890/locations/us-central1/batchPredictionJobs/42",
    "state": "JOB_STATE_SUCCEEDED", "source": ["gs://shop/in.jsonl"], "output": "gs://shop/out/prediction-model-1",
    "counts": {"ok": 98, "retryable": 1, "rejected": 0, "blocked": 0, "truncated": 0, "invalid": 0, "missing": 1},
    "surplus": {"duplicate": 0, "unknown": 0}}"""
HEAD = """{"version": 1, "identity": "0123456789abcdef0123456789abcdef", "model": "%s", "console_url":
    "https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/42?project=1234567890",
    "outputs": ["gs://shop/out/prediction-model-1"],
    "counts": {"ok": 98, "retryable": 1, "rejected": 0, "blocked": 0, "truncated": 0, "invalid": 0, "missing": 1},
    "rounds": [%s]"""
TABLE_ROUND = ROUND.replace("gs://shop/in.jsonl", "bq://my-shop.books.requests").replace(
    "gs://shop/out/prediction-model-1", "bq://my-shop.books.answers"
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            HEAD % ("gemini-2.5-flash", ROUND)
            + """, "usage": {"gemini-2.5-flash": {"rows": 98, "prompt_tokens": 1090, "output_tokens": 95,
            "thoughts_tokens": 0, "cached_tokens": 0, "long_prompt_tokens": 0, "long_output_tokens": 0,
            "long_cached_tokens": 0}}, "cost": {"amount": 0.1, "currency": "USD", "rates_as_of": "2026-11",
            "unpriced": []}}""",
            id="generation",
        ),
        pytest.param(
            HEAD % ("text-embedding-005", TABLE_ROUND)
            + """, "usage": {"text-embedding-005": {"rows": 98, "prompt_tokens": 1090, "output_tokens": 0,
            "thoughts_tokens": 0, "cached_tokens": 0, "long_prompt_tokens": 0, "long_output_tokens": 0,
            "long_cached_tokens": 0}}, "cost": {"amount": null, "currency": "USD", "rates_as_of": "",
            "unpriced": ["text-embedding-005"]}}""",
            id="embeddings",
        ),
        pytest.param(HEAD % ("gemini-2.5-flash", ROUND) + ', "usage": {}, "cost": null}', id="without-cost"),
        pytest.param(HEAD % ("gemini-2.5-flash", f"{ROUND}, {ROUND}") + "}", id="before-cost-was-known"),
        pytest.param(
            HEAD % ("gemini-2.5-flash", ROUND.replace(',\n    "surplus": {"duplicate": 0, "unknown": 0}', ""))
            + "}",
            id="before-surplus-was-known",
        ),
    ],
)
def test_manifests_are_read(text: str) -> None:
    content = json.loads(text)
    manifest = Manifest.from_json(content)
    assert (manifest.version, manifest.model, len(manifest.rounds)) == (
        1,
        content["model"],
        len(content["rounds"]),
    )
    for round_, stored in zip(manifest.rounds, content["rounds"], strict=True):
        assert round_.had_answers
        assert JobState(round_.state) is JobState.SUCCEEDED
        assert (list(round_.source), round_.output) == (stored["source"], stored["output"])
    again = manifest.to_json()
    assert {key: again[key] for key in ("identity", "model", "console_url", "counts")} == {
        key: content[key] for key in ("identity", "model", "console_url", "counts")
    }
    if "cost" in content:
        assert (again["usage"], again["cost"]) == (content["usage"], content["cost"])


@pytest.mark.parametrize(
    "text",
    [
        '["gs://shop/in/1.jsonl", "gs://shop/in/2.jsonl"]',
        '[["gs://shop/in/1.jsonl", "gs://shop/in/2.jsonl"]]',
        '["bq://my-shop.books.requests_0123456789ab"]',
    ],
)
def test_results_of_the_build_are_requests_of_a_submission(text: str) -> None:
    for requests in json.loads(text):
        assert parse_requests(requests)


def test_report_of_the_build_keeps_its_names() -> None:
    text = '{"sources": ["gs://shop/in/1.jsonl"], "rows": 9, "requests": 7, "done": 2, "dropped": {}}'
    stored = json.loads(text)
    assert BuildReport(stored["sources"], 9, 7, done=2).to_json().items() >= stored.items()


def test_results_of_the_sensors_keep_their_names() -> None:
    job = BatchJob(VertexJobName.parse(JOB), JobState.SUCCEEDED)
    assert job_readiness(job).result == {"job_name": JOB, "state": "JOB_STATE_SUCCEEDED", "output": ""}
    rows = rows_readiness("gs://shop/out", rows=7, failed=0, expected=7, max_failed_fraction=0)
    assert rows.result == {"output": "gs://shop/out", "rows": 7, "failed": 0}
