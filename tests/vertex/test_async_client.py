"""AsyncBatchJobClient over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError, TransportError
from google.oauth2.credentials import Credentials as Token

from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.heartbeat import heartbeat
from tests.support.jobs import HERE, seed

NOBODY = VertexJobName("demo-project", "us-central1", "42")


def make_async_client(
    vertex: LocalVertex, credentials: Credentials | None = None, url: str | None = None, **settings: float
) -> AsyncBatchJobClient:
    return AsyncBatchJobClient(
        credentials=credentials or Token("token"), base_url=url or vertex.url, **HERE, **settings
    )


@contextlib.asynccontextmanager
async def open_client(*arguments: Any, **settings: Any) -> AsyncIterator[AsyncBatchJobClient]:
    client = make_async_client(*arguments, **settings)
    yield client
    await client.close()


@pytest.fixture
async def reader(vertex: LocalVertex) -> AsyncIterator[AsyncBatchJobClient]:
    async with open_client(vertex) as client:
        yield client


async def test_get_reads_what_the_waiting_client_reads(vertex, client, reader):
    (name,) = seed(vertex, labels={"team": "bookshop"}, queue_seconds=3600.0)
    job = await reader.get(name)
    assert job == client.get(name)
    assert (job.state, job.labels) == (JobState.PENDING, {"team": "bookshop"})


async def test_get_asks_in_the_location_of_the_name(vertex, reader):
    (name,) = seed(vertex, location="europe-west4")
    assert (await reader.get(name)).name == name


async def test_get_asks_in_the_project_of_the_name(vertex, reader):
    with pytest.raises(VertexApiError, match="403 PERMISSION_DENIED"):
        await reader.get(VertexJobName("another-project", "us-central1", "42"))


async def test_get_names_the_job_and_the_reason(reader):
    with pytest.raises(VertexApiError) as caught:
        await reader.get(NOBODY)
    assert str(caught.value).startswith(f"reading {NOBODY}: Vertex AI answered 404 NOT_FOUND: The Batch")
    assert not caught.value.transient


async def names_of(client: AsyncBatchJobClient, query: JobQuery) -> list[VertexJobName]:
    """Read all pages of a list."""
    names, token = [], ""
    while True:
        jobs, token = (await client.page(query, token))()
        names += [job.read().name for job in jobs]
        if not token:
            return names


@pytest.mark.parametrize(("refusals", "pages"), [(0, 1), (1, 4)])
async def test_list_follows_the_pages_large_ones_unless_they_are_refused(
    vertex, reader, bucket, refusals, pages
):
    names = seed(vertex, 205, labels={"shop": bucket})
    if refusals:
        vertex.faults.plan("error", on="list", times=refusals, status="INVALID_ARGUMENT", message="page size")
    found = await names_of(reader, JobQuery(labels={"shop": bucket}))
    assert found == names[::-1]
    assert vertex.requests.counts == {"list": pages}


async def test_page_that_can_t_be_read_is_no_end_of_the_list(vertex, reader, bucket):
    seed(vertex, 1001, labels={"shop": bucket})
    vertex.faults.plan("html_answer", on="list", skip=1)
    with pytest.raises(VertexApiError, match="Service unavailable"):
        await names_of(reader, JobQuery(labels={"shop": bucket}))


@pytest.mark.parametrize(
    ("fault", "arguments", "code"),
    [
        pytest.param("error", {"status": "UNAVAILABLE"}, 503, id="503"),
        pytest.param("error", {"status": "INTERNAL"}, 500, id="500"),
        pytest.param("error", {"status": "RESOURCE_EXHAUSTED"}, 429, id="429"),
        pytest.param("empty_answer", {}, 200, id="empty"),
        pytest.param("html_answer", {}, 200, id="html"),
        pytest.param("drop_before", {}, None, id="dropped-before"),
        pytest.param("drop_after", {}, None, id="dropped-after"),
    ],
)
@pytest.mark.parametrize("method", ["get", "list"])
async def test_unclear_answers_are_errors_that_may_pass(vertex, reader, method, fault, arguments, code):
    (name,) = seed(vertex)
    vertex.faults.plan(fault, on=method, times=None, **arguments)
    with pytest.raises(VertexApiError, match=r"^(reading|listing) ") as caught:
        await (reader.get(name) if method == "get" else names_of(reader, JobQuery()))
    assert (caught.value.code, caught.value.transient) == (code, True)


async def test_answer_that_does_not_come_in_time_is_an_error_that_may_pass(vertex):
    vertex.faults.plan("delay", on="get", seconds=0.4)
    async with open_client(vertex, read_timeout=0.1) as client:
        with pytest.raises(VertexApiError, match=r"no answer from Vertex AI \(.*Timeout.*\)") as caught:
            await client.get(NOBODY)
    assert (caught.value.code, caught.value.transient) == (None, True)


async def test_server_that_is_not_there_is_an_error_that_may_pass(vertex):
    async with open_client(vertex, url="http://127.0.0.1:9") as client:
        with pytest.raises(VertexApiError, match="no answer from Vertex AI") as caught:
            await client.get(NOBODY)
    assert caught.value.transient


async def test_client_works_again_after_dropped_connections(vertex, reader):
    (name,) = seed(vertex)
    await reader.get(name)
    dropping = vertex.faults.plan("drop_before", on="get", times=None)
    with pytest.raises(VertexApiError):
        await reader.get(name)
    vertex.faults.clear(dropping.id)
    assert (await reader.get(name)).name == name


class SlowCredentials(Credentials):
    """Credentials whose refresh takes its time, like a call to a token server; counts the refreshes."""

    def __init__(self, seconds: float = 0.1) -> None:
        super().__init__()
        self._seconds = seconds
        self.refreshed_in: list[threading.Thread] = []

    def refresh(self, request):
        self.refreshed_in.append(threading.current_thread())
        time.sleep(self._seconds)
        self.token = "token"


async def test_token_is_refreshed_once_for_many_callers_and_not_on_the_loop(vertex):
    credentials = SlowCredentials(seconds=0.8)
    names = seed(vertex, 50)
    async with open_client(vertex, credentials) as client, heartbeat() as heart:
        jobs = await asyncio.gather(*map(client.get, names))
    assert [job.name for job in jobs] == names
    (thread,) = credentials.refreshed_in
    assert thread is not threading.current_thread()
    assert heart.worst_lag < 0.5


async def test_token_that_was_taken_back_is_asked_for_again(vertex):
    credentials = SlowCredentials()
    (name,) = seed(vertex)
    async with open_client(vertex, credentials) as client:
        await client.get(name)
        credentials.token = None
        await client.get(name)
    assert len(credentials.refreshed_in) == 2


class FailingCredentials(Credentials):
    """Credentials whose refresh fails."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self._errors = list(errors)

    def refresh(self, request):
        if self._errors:
            raise self._errors.pop(0)
        self.token = "token"


async def test_refused_credentials_are_told_apart_from_an_unclear_answer(vertex):
    credentials = FailingCredentials(RefreshError("invalid_grant: the account has been deleted"))
    async with open_client(vertex, credentials) as client:
        with pytest.raises(CredentialsError, match="invalid_grant: the account has been deleted") as caught:
            await client.get(NOBODY)
    assert (caught.value.transient, caught.value.retryable) == (False, True)
    assert vertex.requests.counts == {}


async def test_token_server_that_is_away_is_an_error_that_may_pass(vertex):
    (name,) = seed(vertex)
    async with open_client(vertex, FailingCredentials(TransportError("no route"))) as client:
        with pytest.raises(VertexApiError, match="no route") as caught:
            await client.get(name)
        assert caught.value.transient
        assert (await client.get(name)).name == name


async def test_closed_client_opens_again(vertex):
    (name,) = seed(vertex)
    client = make_async_client(vertex)
    for _ in range(2):
        assert (await client.get(name)).name == name
        await client.close()
        await client.close()


def test_two_loops_one_after_the_other_share_credentials(vertex):
    credentials = SlowCredentials()
    names = seed(vertex, 5)

    async def read_all() -> list[VertexJobName]:
        async with open_client(vertex, credentials) as client:
            return [job.name for job in await asyncio.gather(*map(client.get, names))]

    assert asyncio.run(read_all()) == names
    credentials.token = None
    assert asyncio.run(read_all()) == names
    assert len(credentials.refreshed_in) == 2
