"""What a submit task looks at before it pays."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from google.api_core.exceptions import Forbidden

from airflow_gemini_batch.gcp.objects import StorageObjects
from tests.operators.stage import describe
from tests.support.requests_data import BAD_REQUEST, request, storage_client, upload
from tests.support.tables import fill, make_dataset
from tests.support.tasks import TaskInstance, run_task


def creates(vertex) -> int:
    return vertex.requests.counts.get("create", 0)


def refusal(vertex, source, **arguments) -> str:
    """Run a task that has to be refused before it pays, and return what it says."""
    before = creates(vertex)
    with pytest.raises(AirflowFailException) as refused:
        run_task(describe(source, **arguments))
    assert creates(vertex) == before
    return str(refused.value)


@pytest.fixture
def looked(mocker):
    """Count the preflights."""
    from airflow_gemini_batch.preflight import job as checks

    return mocker.spy(checks, "preflight")


def test_requests_that_would_be_rejected_are_not_paid(gemini_batch_stack, vertex, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("fine"), BAD_REQUEST])
    message = refusal(vertex, source)
    assert "nothing was submitted" in message
    assert "1 of 2 checked requests would be rejected, more than max_failed_fraction (0.05)" in message
    assert "line 2: Please use a valid role" in message


def test_as_many_bad_requests_as_rows_may_fail_are_a_warning(gemini_batch_stack, vertex, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("fine"), BAD_REQUEST])
    assert run_task(describe(source, max_failed_fraction=0.5))["counts"]["rejected"] == 1


def test_line_that_is_no_json_is_not_paid(gemini_batch_stack, vertex, bucket):
    blob = storage_client(gemini_batch_stack).bucket(bucket).blob("in.jsonl")
    blob.upload_from_string('{"request": {}}\noops\n')
    assert "line 2: column 1: not JSON" in refusal(vertex, f"gs://{bucket}/in.jsonl")


def test_all_is_told_at_once(gemini_batch_stack, vertex, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [BAD_REQUEST])
    message = refusal(vertex, source, destination="gs://no-such-bucket-anywhere/out", location="europe-west4")
    assert "the bucket does not exist" in message
    assert "Please use a valid role" in message
    assert "us-central1" in message


def test_table_without_requests_is_told_by_its_columns(gemini_batch_stack, vertex):
    source = fill(
        gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.t", {"isbn": "STRING"}, [{"isbn": "1"}]
    )
    assert "request" in refusal(vertex, source)


def test_task_may_go_without(gemini_batch_stack, vertex, bucket, looked):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("fine"), BAD_REQUEST])
    with pytest.raises(AirflowFailException, match="1 of 2 rows have no answer"):
        run_task(describe(source, preflight=False))
    assert looked.call_count == 0


def test_job_that_is_there_is_taken_without_a_look(vertex, source, looked):
    first = run_task(describe(source))
    assert run_task(describe(source), TaskInstance(try_number=2)) == first
    assert looked.call_count == 1


@pytest.mark.usefixtures("half_of_rows_missing")
def test_follow_up_is_sent_without_a_look(vertex, source, looked):
    assert len(run_task(describe(source))["rounds"]) == 2
    assert looked.call_count == 1


def test_what_may_not_be_asked_stops_no_job(vertex, source, monkeypatch):
    def refuse(*_):
        raise Forbidden("no role")

    for question in ("bucket_location", "raw_lines"):
        monkeypatch.setattr(StorageObjects, question, refuse)
    assert run_task(describe(source))["counts"]["ok"] == 10
