"""One look at a job or its output, through a hook and the local servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.api_core import exceptions as google
from requests import exceptions as http

from airflow_gemini_batch.exceptions import (
    CredentialsError,
    InvalidRequestError,
    SourceNotReadyError,
    VertexApiError,
)
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.jobs.readiness import Readiness, ReadinessState, ready
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.triggers.probes import (
    JobProbe,
    OutputProbe,
    TaskRunProbe,
    check_with_retry,
    probe_from_json,
    probe_to_json,
)
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.support.jobs import job_request, make_client, seed, wait_for
from tests.support.requests_data import request, upload

GOOD_ROW: dict[str, Any] = {
    "status": "",
    "response": {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]},
}
BAD_ROW: dict[str, Any] = {"status": "Bad Request: {}", "response": {}}
FOLDER = "out/prediction-model-2026-11-22T00:00:00.000000Z"


@pytest.mark.parametrize(
    "probe",
    [
        JobProbe(),
        JobProbe(job_name="projects/my-shop/locations/us-central1/batchPredictionJobs/1"),
        JobProbe(labels={"airflow_dag": "nightly", "team": "bookshop"}, expected_jobs=3, follow_up_wait=1.5),
        TaskRunProbe("nightly", "ask", logical_date="2026-11-26T00:00:00+00:00", expected_jobs=2),
        OutputProbe("bq://project-1.d.t", expected_rows=7),
        OutputProbe("gs://bucket/out", expected_rows=0, max_failed_fraction=0.25),
        OutputProbe("gs://bucket/out", expected_from=["gs://b-1/a.jsonl", "gs://b-1/b.jsonl"]),
        OutputProbe(
            "gs://bucket/out", job_name="projects/my-shop/locations/us-central1/batchPredictionJobs/1"
        ),
    ],
)
def test_probe_crosses_as_json(probe):
    sent = json.dumps(probe_to_json(probe))
    crossed = probe_from_json(json.loads(sent))
    assert type(crossed) is type(probe)
    assert json.dumps(probe_to_json(crossed)) == sent


def test_probe_of_an_older_release_is_understood():
    # Triggers in flight hold what was known then; what has been added since has a default.
    assert probe_from_json({"kind": "output", "output": "gs://bucket/out"}) == OutputProbe("gs://bucket/out")
    assert probe_from_json({"kind": "job"}) == JobProbe()
    # And the other way: what is at its default is left out.
    assert probe_to_json(JobProbe()) == {"kind": "job", "job_name": None, "labels": None}


@pytest.fixture
def hook(gemini_batch_stack):
    return GeminiBatchHook()


def test_newest_job_with_all_the_labels_counts(vertex, hook, bucket):
    seed(vertex, labels={"shop": bucket, "task": "a"}, run_seconds=0.0)
    (newest,) = seed(vertex, labels={"shop": bucket, "task": "a", "more": "x"}, queue_seconds=3600.0)
    seed(vertex, labels={"shop": bucket, "task": "b"})
    check = JobProbe(labels={"shop": bucket, "task": "a"}).check(hook)
    assert check.state is ReadinessState.NOT_YET
    assert check.reason == f"{newest} (PENDING) is waiting to start"


def test_no_job_with_the_labels_is_a_reason_to_wait(hook, bucket):
    check = JobProbe(labels={"shop": bucket, "a": "b"}).check(hook)
    assert check == Readiness(
        ReadinessState.NOT_YET,
        f"in projects/demo-project/locations/us-central1 no job has the labels a=b, shop={bucket}",
    )


def test_labels_are_compared_even_where_the_service_does_not_filter(vertex, hook, bucket, monkeypatch):
    seed(vertex, labels={"shop": "another"}, run_seconds=0.0)
    every_job = BatchJobClient.list
    monkeypatch.setattr(BatchJobClient, "list", lambda self, query: every_job(self))
    assert JobProbe(labels={"shop": bucket}).check(hook).state is ReadinessState.NOT_YET


@pytest.mark.parametrize(
    ("rows", "probe", "readiness", "reason"),
    [
        pytest.param(
            [GOOD_ROW] * 2, {"expected_rows": 2}, "ready", "2 rows, 0 of them failed", id="complete"
        ),
        pytest.param([GOOD_ROW], {"expected_rows": 2}, "not_yet", "has 1 of 2 rows", id="filling"),
        pytest.param(None, {"expected_rows": 2}, "not_yet", "there is no output at", id="no-output"),
        pytest.param(
            [GOOD_ROW, BAD_ROW],
            {"expected_rows": 2},
            "never",
            "and max_failed_fraction allows 0",
            id="failed-rows",
        ),
        pytest.param(
            [GOOD_ROW, BAD_ROW],
            {"expected_rows": 2, "max_failed_fraction": 0.5},
            "ready",
            "1 of them failed",
            id="failed-rows-allowed",
        ),
        pytest.param([GOOD_ROW] * 3, {"expected_rows": 2}, "ready", "has 3 rows", id="more-than-expected"),
    ],
)
def test_output_is_judged_by_its_rows(gemini_batch_stack, hook, bucket, rows, probe, readiness, reason):
    if rows is not None:
        upload(gemini_batch_stack, bucket, f"{FOLDER}/predictions.jsonl", rows)
    check = OutputProbe(f"gs://{bucket}/out", **probe).check(hook)
    assert check.state == readiness
    assert reason in check.reason


def test_expected_rows_are_counted_in_the_requests(gemini_batch_stack, hook, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a"), request("b")])
    upload(gemini_batch_stack, bucket, f"{FOLDER}/predictions.jsonl", [GOOD_ROW])
    probe = OutputProbe(f"gs://{bucket}/out", expected_from=[source])
    assert "has 1 of 2 rows" in probe.check(hook).reason


def test_requests_that_are_not_there_yet_are_a_reason_to_wait(gemini_batch_stack, hook, bucket):
    upload(gemini_batch_stack, bucket, f"{FOLDER}/predictions.jsonl", [GOOD_ROW])
    probe = OutputProbe(f"gs://{bucket}/out", expected_from=[f"gs://{bucket}/in.jsonl"])
    check = check_with_retry(probe, hook)
    assert (check.state, check.reason) == (
        ReadinessState.NOT_YET,
        f"source gs://{bucket}/in.jsonl: there is no such object",
    )


def test_output_of_several_jobs_is_never_ready(gemini_batch_stack, hook, bucket):
    for folder in ("out/one", "out/two"):
        upload(gemini_batch_stack, bucket, f"{folder}/predictions.jsonl", [GOOD_ROW])
    check = OutputProbe(f"gs://{bucket}/out", expected_rows=1).check(hook)
    assert check.state is ReadinessState.NEVER
    assert f"Name the folder of one job: gs://{bucket}/out/one, gs://{bucket}/out/two" in check.reason


@pytest.fixture
def finished(gemini_batch_stack, vertex, bucket):
    """Run a job that suffers a fault to its end, and return its name."""

    def finished(fault: str, state: JobState) -> str:
        upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
        vertex.faults.plan(fault)
        client = make_client(vertex)
        return str(wait_for(client, client.create(job_request(bucket)).name, state).name)

    return finished


def test_job_decides_before_the_rows_do(hook, bucket, finished):
    name = finished("fail", JobState.FAILED)
    check = OutputProbe(f"gs://{bucket}/out", expected_rows=1, job_name=name).check(hook)
    assert check.state is ReadinessState.NEVER
    assert f"{name} (FAILED)" in check.reason


def test_lost_output_of_a_job_that_succeeded_is_never_ready(hook, bucket, finished):
    name = finished("lose_output", JobState.SUCCEEDED)
    check = OutputProbe(f"gs://{bucket}/out", job_name=name).check(hook)
    assert (check.state, check.reason) == (
        ReadinessState.NEVER,
        f"there is no output at gs://{bucket}/out, though {name} succeeded",
    )


class Answer:
    """A probe that finds what it is told to find."""

    def __init__(self, found: Readiness | Exception) -> None:
        self._found = found

    def check(self, hook: GeminiBatchHook) -> Readiness:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_patient_look_hands_on_what_is_found(hook):
    assert check_with_retry(Answer(ready("there", rows=1)), hook) == ready("there", rows=1)


@pytest.mark.parametrize(
    "error",
    [
        VertexApiError("reading: 503", code=503),
        VertexApiError("reading: no answer"),
        SourceNotReadyError("there is no such object"),
        google.ServiceUnavailable("later"),
        google.InternalServerError("later"),
        google.TooManyRequests("later"),
        google.RetryError("later", cause=None),
        http.ConnectionError("no route"),
        http.ReadTimeout("slow"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error}",
)
def test_patient_look_takes_a_passing_error_for_a_reason_to_wait(hook, error):
    check = check_with_retry(Answer(error), hook)
    assert check.state is ReadinessState.NOT_YET
    assert str(error) in check.reason


@pytest.mark.parametrize(
    "error",
    [
        VertexApiError("reading: 404", code=404),
        CredentialsError("refused"),
        InvalidRequestError("a view"),
        google.Forbidden("no role"),
        ValueError("a fault of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_patient_look_raises_what_waiting_does_not_mend(hook, error):
    with pytest.raises(type(error), match=str(error)):
        check_with_retry(Answer(error), hook)


def test_output_that_is_replaced_while_it_is_read_is_looked_at_again(
    gemini_batch_stack, hook, bucket, mocker
):
    from google.cloud.storage import Blob

    name = f"{FOLDER}/predictions.jsonl"
    upload(gemini_batch_stack, bucket, name, [GOOD_ROW])
    downloaded = Blob.download_to_file

    def replaced(blob: Blob, *arguments: Any, **options: Any) -> Any:
        upload(gemini_batch_stack, bucket, name, [GOOD_ROW, GOOD_ROW])
        mocker.stopall()
        return downloaded(blob, *arguments, **options)

    mocker.patch.object(Blob, "download_to_file", autospec=True, side_effect=replaced)
    probe = OutputProbe(f"gs://{bucket}/out", expected_rows=2)
    assert check_with_retry(probe, hook).state is ReadinessState.NOT_YET
    assert check_with_retry(probe, hook).state is ReadinessState.READY
