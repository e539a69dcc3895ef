"""A secret in the connection goes nowhere else."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from contextlib import redirect_stderr, redirect_stdout

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from google.oauth2.credentials import Credentials

from airflow_gemini_batch import GeminiBatchHook, GeminiBatchJobSensor, SubmitGeminiBatchOperator
from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.requests_data import request, upload
from tests.support.tasks import TaskInstance, first_event, reborn, run_task

PASSWORD = "hunter2-planted-secret"
TOKEN = "ya29.planted-token"
KEY = "-----BEGIN PRIVATE KEY-----planted"
SECRETS = (PASSWORD, TOKEN, KEY)


@pytest.fixture
def heard(gemini_batch_stack, monkeypatch):
    """Plant secrets in the connection and its credentials, and collect all that is said meanwhile."""
    extra = {
        "is_anonymous": True,
        "project": "demo-project",
        "location": "us-central1",
        "some_private_key": KEY,
    }
    connection = {"conn_type": "google_cloud_platform", "password": PASSWORD, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
    monkeypatch.setattr(GeminiBatchHook, "credentials", Credentials(TOKEN))
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with redirect_stdout(said), redirect_stderr(said):
        yield said
    root.removeHandler(handler)
    root.setLevel(level)


def make_task(source, **arguments):
    settings = {"task_id": "describe", "model": "gemini-3.8-flash", "poll_interval": 0.05, **arguments}
    return SubmitGeminiBatchOperator(requests=source, **settings)


def assert_clean(*texts: object) -> None:
    for text in texts:
        for secret in SECRETS:
            assert secret not in str(text)


def test_no_secret_in_trigger_event_manifest_labels_or_log(gemini_batch_stack, heard, bucket):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    ti = TaskInstance(dag_id=bucket)
    task = make_task(source)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": ti})
    trigger = deferred.value.trigger
    event = asyncio.run(first_event(reborn(trigger)))
    manifest = task.resume({"ti": ti}, event)
    found = run_task(
        GeminiBatchJobSensor(task_id="s", job_name=trigger.job_name, poke_interval=0.1, timeout=10)
    )
    job = task.hook.get_conn().get(VertexJobName.parse(trigger.job_name))
    assert trigger.job_name in heard.getvalue(), "nothing was heard, so nothing would be found"
    assert_clean(trigger.serialize(), event, manifest, found, ti.xcoms, job, heard.getvalue())


@pytest.mark.parametrize("fault", ["fail", "expire_queued", "all_rows_failed"])
def test_no_secret_in_exceptions(gemini_batch_stack, heard, bucket, fault):
    gemini_batch_stack.vertex.faults.plan(fault)
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    with pytest.raises(Exception) as failed:  # noqa: PT011 - whichever it is, it is searched
        run_task(make_task(source, max_row_retries=0), TaskInstance(dag_id=bucket))
    error: BaseException | None = failed.value
    while error is not None:
        assert_clean(error, repr(error))
        error = error.__cause__ or error.__context__
    assert_clean(heard.getvalue())


def test_no_secret_when_the_service_refuses(gemini_batch_stack, heard, bucket):
    gemini_batch_stack.vertex.faults.plan("error", on="list", status="PERMISSION_DENIED")
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    with pytest.raises(GeminiBatchError) as refused:
        run_task(make_task(source), TaskInstance(dag_id=bucket))
    assert_clean(refused.value, repr(refused.value), heard.getvalue())
