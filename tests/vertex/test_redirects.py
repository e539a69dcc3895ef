"""A server that sends a client elsewhere, by a redirect or by the name of a job: nobody follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.jobs.client import ALL_JOBS
from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient
from airflow_gemini_batch.vertex.client import BatchJobClient
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import HERE, job_request
from tests.support.trap import http_answer, trap

pytestmark = pytest.mark.stack

NAME = VertexJobName(HERE["project"], HERE["location"], "42")


def waiting(call: Callable[[BatchJobClient], object]) -> Callable[[str], object]:
    def use(url: str) -> object:
        client = BatchJobClient(credentials=Credentials("token"), base_url=url, read_timeout=5.0, **HERE)
        return call(client)

    return use


def on_a_loop(call: Callable[[AsyncBatchJobClient], Any]) -> Callable[[str], object]:
    async def use(url: str) -> object:
        client = AsyncBatchJobClient(credentials=Credentials("token"), base_url=url, read_timeout=5.0, **HERE)
        try:
            return await call(client)
        finally:
            await client.close()

    return lambda url: asyncio.run(use(url))


async def read_page(client: AsyncBatchJobClient) -> object:
    jobs, _ = (await client.page(ALL_JOBS))()
    return [job.read() for job in jobs]


READS = {
    "list": waiting(lambda client: list(client.list())),
    "get": waiting(lambda client: client.get(NAME)),
    "create": waiting(lambda client: client.create(job_request("books"))),
    "async-list": on_a_loop(read_page),
    "async-get": on_a_loop(lambda client: client.get(NAME)),
}
CALLS = {
    **READS,
    "cancel": waiting(lambda client: client.cancel(NAME)),
    "delete": waiting(lambda client: client.delete(NAME)),
}


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
@pytest.mark.parametrize("use", CALLS.values(), ids=CALLS)
def test_redirect_is_not_followed(use, status):
    with (
        trap() as elsewhere,
        trap(http_answer(status, Location=f"http://{elsewhere.address}/v1/{NAME}")) as server,
    ):
        with pytest.raises(VertexApiError) as answered:
            use(f"http://{server.address}")
        assert (answered.value.code, elsewhere.heard) == (int(status[:3]), [])
        assert len(server.heard) == 1


@pytest.mark.parametrize("use", CALLS.values(), ids=CALLS)
def test_redirect_on_the_same_server_is_not_followed_either(use):
    with trap(http_answer("307 Temporary Redirect", Location="/v1/elsewhere")) as server:
        with pytest.raises(VertexApiError):
            use(f"http://{server.address}")
        assert len(server.heard) == 1


@pytest.mark.parametrize(
    "name",
    [
        "projects/demo-project/locations/europe-west4/batchPredictionJobs/42",
        "projects/another-shop/locations/us-central1/batchPredictionJobs/42",
        "projects/demo-project/locations/evil.example#/batchPredictionJobs/42",
        "projects/demo-project/locations/us-central1/batchPredictionJobs/..",
    ],
)
@pytest.mark.parametrize("use", READS.values(), ids=READS)
def test_job_of_another_place_than_asked_is_not_taken(use, name):
    job = {"name": name, "state": "JOB_STATE_RUNNING", "labels": {}}
    # A list is read as a page, everything else as a job.
    body = json.dumps({**job, "batchPredictionJobs": [job]}).encode()
    headers = {"Content-Type": "application/json"}
    with trap(http_answer("200 OK", body, **headers)) as server:
        with pytest.raises(VertexApiError, match=r"is not (a job in|the name of)") as refused:
            use(f"http://{server.address}")
        assert refused.value.transient  # whether a job was created is not known


def test_number_of_the_project_stands_for_its_id():
    body = json.dumps({"name": "projects/123/locations/us-central1/batchPredictionJobs/42"}).encode()
    with trap(http_answer("200 OK", body)) as server:
        job = READS["get"](f"http://{server.address}")
    assert str(job.name) == "projects/123/locations/us-central1/batchPredictionJobs/42"
