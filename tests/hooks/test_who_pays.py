"""The project whose quota counts, and the one that pays for buckets, are named in every call."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from airflow_gemini_batch import GeminiBatchHook
from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError, VertexApiError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.client import ALL_JOBS
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger
from airflow_gemini_batch.triggers.poller import Group, connect
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import job_request
from tests.support.trap import http_answer, trap

NAME = VertexJobName("demo-project", "us-central1", "42")
EMPTY = http_answer("200 OK", b"{}", **{"Content-Type": "application/json"})

pytestmark = pytest.mark.stack


@pytest.fixture
def service(gemini_batch_stack, monkeypatch):
    """A server that answers everybody, in the place of all three services."""
    with trap(EMPTY) as opened:
        url = f"http://{opened.address}"
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", url)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        yield opened


def create(hook: GeminiBatchHook) -> None:
    with pytest.raises(VertexApiError):  # the answer is no job
        hook.get_conn().create(job_request("shop"))


def page(hook: GeminiBatchHook) -> None:
    async def ask() -> None:
        client = hook.get_async_conn(NAME)
        await client.page(ALL_JOBS)
        await client.close()

    asyncio.run(ask())


CALLS = {
    "list": lambda hook: list(hook.get_conn().list()),
    "create": create,
    "page": page,
    "objects": lambda hook: list(hook.storage_client.list_blobs("shop")),
    "tables": lambda hook: list(hook.bigquery_client.list_datasets()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("quota_project", ["my-quota", None])
def test_quota_project_is_named_in_every_call(service, call, quota_project):
    call(GeminiBatchHook(quota_project_id=quota_project))
    said = list(filter(None, service.heard))  # a slow machine may connect twice
    assert said
    for request in said:
        assert (b"x-goog-user-project: my-quota" in request.lower()) is bool(quota_project)


def test_quota_project_reaches_the_triggerer(service):
    trigger = GeminiBatchJobTrigger(
        job_name=str(NAME), submitted_at=0.0, gcp_conn_id="google_cloud_default", quota_project_id="my-quota"
    )
    _, arguments = trigger.serialize()

    async def ask() -> None:
        client = await connect(
            Group.of(NAME, "google_cloud_default", None, arguments["quota_project_id"]), NAME
        )
        await client.page(ALL_JOBS)
        await client.close()

    asyncio.run(ask())
    assert b"x-goog-user-project: my-quota" in service.heard[0].lower()


BUCKETS = {
    "list": lambda files: list(files.objects([GcsAddress("shop", "*.jsonl")])),
    "get": lambda files: list(files.objects([GcsAddress("shop", "a.jsonl")])),
    "bucket": lambda files: files.bucket_location("shop"),
    "permissions": lambda files: files.may_write("shop"),
    "destination": lambda files: files.check_destination(GcsAddress("shop", "out")),
    "predictions": lambda files: files.prediction_files(GcsAddress("shop", "out")),
}


@pytest.mark.parametrize("call", BUCKETS.values(), ids=BUCKETS)
@pytest.mark.parametrize("payer", ["the-payer", None])
def test_payer_is_named_in_every_call_about_a_bucket(service, call, payer):
    with suppress(SourceNotReadyError):  # there is no object
        call(StorageObjects(GeminiBatchHook(user_project=payer).storage_client))
    said = list(filter(None, service.heard))  # a slow machine may connect twice
    assert said
    for request in said:
        assert (b"userproject=the-payer" in request.lower()) is bool(payer)


@pytest.mark.parametrize("field", ["quota_project_id", "user_project"])
@pytest.mark.parametrize("place", ["argument", "connection"])
def test_what_is_no_project_is_refused_before_credentials_are_touched(service, monkeypatch, field, place):
    hostile: Any = "evil.example/"
    if place == "connection":
        extra = {"is_anonymous": True, "project": "demo-project", "location": "us-central1", field: hostile}
        connection = {"conn_type": "google_cloud_platform", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(connection))
        hook = GeminiBatchHook()
    else:
        hook = GeminiBatchHook(**{field: hostile})
    with pytest.raises(InvalidRequestError, match=field):
        _ = hook.credentials
    assert service.heard == []
