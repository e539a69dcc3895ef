"""GeminiBatchJobTrigger against the local server."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import time
from typing import Any

import aiohttp
import pytest

from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.heartbeat import heartbeat
from tests.support.jobs import job_request, make_client, seed, wait_for
from tests.support.requests_data import request, upload
from tests.support.tasks import first_event, reborn
from tests.support.wire_format import BOTH_WAYS

HOUR = 3600.0
# A trigger may run twice at once, so that it must never ask for anything to be done.
READS = {"get", "list"}


def trigger(job_name: VertexJobName | str, **arguments: Any) -> GeminiBatchJobTrigger:
    defaults = {"submitted_at": time.time(), "gcp_conn_id": "google_cloud_default", "poll_interval": 0.02}
    return GeminiBatchJobTrigger(job_name=str(job_name), **{**defaults, **arguments})


def event_of(job_name: VertexJobName | str, **arguments: Any) -> dict[str, Any]:
    """Wait for a job as the triggerer does; the event crosses to the worker as JSON."""
    event = asyncio.run(first_event(reborn(trigger(job_name, **arguments))))
    crossed: dict[str, Any] = json.loads(json.dumps(event))
    return crossed


@pytest.fixture
def create(gemini_batch_stack, vertex, bucket):
    """Create a job that is born with a fault."""

    def create(fault: str | None = None, **arguments: Any) -> BatchJob:
        upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
        if fault:
            vertex.faults.plan(fault, **arguments)
        return make_client(vertex).create(job_request(bucket))

    return create


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (None, "SUCCEEDED"),
        ("partly_succeed", "PARTIALLY_SUCCEEDED"),
        ("fail", "FAILED"),
        ("error_details", "SUCCEEDED"),
        ("expire_queued", "EXPIRED"),
        ("expire_running", "EXPIRED"),
        ("pause", "PAUSED"),
        ("rare_states", "SUCCEEDED"),
    ],
)
def test_ends_with_the_job(create, fault, state):
    job = create(fault)
    assert event_of(job.name) == {
        "version": 1,
        "outcome": "ended",
        "job_name": str(job.name),
        "state": f"JOB_STATE_{state}",
        "message": "",
    }


@pytest.mark.parametrize(("fault", "state"), [(None, "CANCELLED"), ("cancel_fails", "FAILED")])
def test_waits_for_what_a_cancelled_job_ends_as(vertex, create, fault, state):
    job = create(fault)
    make_client(vertex).cancel(job.name)
    assert event_of(job.name)["state"] == f"JOB_STATE_{state}"


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        pytest.param("error", {"status": "RESOURCE_EXHAUSTED"}, id="429"),
        pytest.param("error", {"status": "INTERNAL"}, id="500"),
        pytest.param("error", {"status": "UNAVAILABLE"}, id="503"),
        pytest.param("empty_answer", {}, id="empty"),
        pytest.param("html_answer", {}, id="html"),
        pytest.param("drop_before", {}, id="dropped-before"),
        pytest.param("drop_after", {}, id="dropped-after"),
        # New jobs are not visible everywhere at once, and roles that were taken away come back.
        pytest.param("error", {"status": "NOT_FOUND"}, id="404"),
        pytest.param("error", {"status": "PERMISSION_DENIED"}, id="403"),
        pytest.param("error", {"status": "UNAUTHENTICATED"}, id="401"),
    ],
)
def test_survives_answers_that_are_none(vertex, fault, arguments):
    (name,) = seed(vertex, run_seconds=0.3)
    vertex.faults.plan(fault, on="get", times=3, **arguments)
    event = event_of(name)
    assert (event["outcome"], event["state"]) == ("ended", "JOB_STATE_SUCCEEDED")
    assert vertex.faults.planned() == []


@pytest.mark.parametrize(
    ("times", "limit", "state", "reason"),
    [
        pytest.param(
            {"queue_seconds": HOUR},
            {"queue_timeout": 0.36},
            "PENDING",
            "and the limit (queue_timeout) is 0.0001 h",
            id="waiting-to-start",
        ),
        pytest.param(
            {"run_seconds": HOUR},
            {"run_timeout": 0.36},
            "RUNNING",
            "and the limit (run_timeout) is 0.0001 h",
            id="running",
        ),
    ],
)
def test_job_over_a_limit_ends_the_wait_with_the_reason(vertex, times, limit, state, reason):
    (name,) = seed(vertex, **times)
    event = event_of(name, **limit)
    assert (event["outcome"], event["state"]) == ("timed_out", f"JOB_STATE_{state}")
    assert reason in event["message"]
    # Nobody cancels it: the next try takes it over.
    assert make_client(vertex).get(name).state == f"JOB_STATE_{state}"


def test_time_spent_waiting_to_start_does_not_count_as_running(vertex):
    (name,) = seed(vertex, queue_seconds=0.5, run_seconds=0.2)
    assert event_of(name, run_timeout=0.45)["outcome"] == "ended"


def test_no_answer_for_longer_than_a_job_can_take_loses_the_job(vertex):
    (name,) = seed(vertex)
    vertex.faults.plan("error", on="get", times=None, status="UNAVAILABLE", message="try later")
    event = event_of(name, submitted_at=time.time() - 10, queue_timeout=6.0, run_timeout=3.0)
    assert (event["outcome"], event["state"]) == ("lost", "JOB_STATE_UNSPECIFIED")
    assert "its state could not be read for too long; the last error: reading" in event["message"]
    assert "try later" in event["message"]


@pytest.mark.parametrize(
    ("job_name", "arguments", "reason"),
    [
        pytest.param(
            "projects/demo-project/locations/us-central1/batchPredictionJobs/42",
            {},
            "404 NOT_FOUND",
            id="no-such-job",
        ),
        pytest.param(
            "projects/another-project/locations/us-central1/batchPredictionJobs/42",
            {},
            "403 PERMISSION_DENIED",
            id="no-right-to-read-it",
        ),
        pytest.param(
            "projects/demo-project/locations/us-central1/batchPredictionJobs/42",
            {"gcp_conn_id": "no_such_connection"},
            "cannot get credentials from the connection 'no_such_connection'",
            id="no-such-connection",
        ),
    ],
)
def test_refusals_without_end_lose_the_job(vertex, monkeypatch, job_name, arguments, reason):
    monkeypatch.setattr(GeminiBatchJobTrigger, "patience", Patience(refusals=0.3))
    began = time.monotonic()
    event = event_of(job_name, **arguments)
    assert (event["outcome"], event["state"]) == ("lost", "JOB_STATE_UNSPECIFIED")
    assert reason in event["message"]
    assert time.monotonic() - began >= 0.3


def test_only_reads(vertex, create):
    job = create()
    vertex.requests.clear()
    event_of(job.name)
    assert set(vertex.requests.counts) <= READS


async def test_two_copies_at_once_tell_the_same(vertex):
    (name,) = seed(vertex, run_seconds=0.3)
    one, two = await asyncio.gather(*(first_event(trigger(name)) for _ in range(2)))
    assert one == two
    assert one["state"] == "JOB_STATE_SUCCEEDED"


def open_sessions() -> set[int]:
    """Return the HTTP sessions of this process that were not closed."""
    # isinstance would ask some of what others have left for its class, and proxies of databases answer by a query.
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), aiohttp.ClientSession)]
    return {id(session) for session in found if not session.closed}


async def test_cancelled_trigger_leaves_the_job_alone_and_closes_its_connections(vertex):
    (name,) = seed(vertex)
    before = open_sessions()
    waiting = asyncio.create_task(first_event(trigger(name)))
    while not vertex.requests.counts:  # noqa: ASYNC110 - a counter gives no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert open_sessions() > before
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert open_sessions() == before
    assert make_client(vertex).get(name).state is JobState.RUNNING
    assert set(vertex.requests.counts) <= READS


async def test_trigger_that_was_cancelled_can_be_started_again(vertex):
    (name,) = seed(vertex, run_seconds=1.0)
    began = trigger(name)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first_event(began), 0.2)
    assert (await first_event(reborn(began)))["state"] == "JOB_STATE_SUCCEEDED"


async def test_loop_stays_free_while_many_triggers_run(vertex):
    names = seed(vertex, 50, run_seconds=1.0)
    async with heartbeat() as heart:
        events = await asyncio.gather(*(first_event(trigger(name)) for name in names))
    assert [event["job_name"] for event in events] == list(map(str, names))
    assert {event["outcome"] for event in events} == {"ended"}
    assert heart.worst_lag < 0.5


async def test_loop_stays_free_while_a_connection_is_slow(vertex, monkeypatch):
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

    (name,) = seed(vertex, run_seconds=0.0)
    wait_for(make_client(vertex), name, JobState.SUCCEEDED)
    read = GeminiBatchHook.get_connection

    def slow(conn_id: str) -> Any:
        time.sleep(0.4)
        return read(conn_id)

    monkeypatch.setattr(GeminiBatchHook, "get_connection", slow)
    async with heartbeat() as heart:
        await first_event(trigger(name))
    assert heart.worst_lag < 0.5


@pytest.mark.parametrize("both_ways", BOTH_WAYS)
@pytest.mark.parametrize("chain", [None, "a@p.iam.gserviceaccount.com", ["a@p.iam", "b@p.iam"]])
def test_survives_being_stored(both_ways, chain):
    name = "projects/demo-project/locations/us-central1/batchPredictionJobs/42"
    given = {
        "job_name": name,
        "submitted_at": 1764547200.25,
        "gcp_conn_id": "google_eu",
        "impersonation_chain": chain,
        "poll_interval": 7.5,
        "queue_timeout": 1800.0,
        "run_timeout": 900.0,
        "cancel_on_kill": False,
    }
    path, arguments = GeminiBatchJobTrigger(**given).serialize()
    assert path == "airflow_gemini_batch.triggers.gemini_batch.GeminiBatchJobTrigger"
    assert arguments == given
    assert GeminiBatchJobTrigger(**both_ways(arguments)).serialize() == (path, given)


def test_every_argument_is_stored():
    stored = trigger("x", quota_project_id="my-quota").serialize()[1]
    assert stored.keys() == inspect.signature(GeminiBatchJobTrigger).parameters.keys()
    assert GeminiBatchJobTrigger(**stored).quota_project_id == "my-quota"


def test_arguments_of_an_older_release_are_enough():
    # Triggers in flight are made again by the new release: what was not there then has to have a default.
    GeminiBatchJobTrigger(job_name="x", submitted_at=0.0, gcp_conn_id="google_cloud_default")


SECRET = "planted-secret-7d1f"


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"is_anonymous": True, "project": "demo-project", "note": SECRET}, id="working"),
        pytest.param({"keyfile_dict": f"{{not json {SECRET}"}, id="key-that-is-no-json"),
        pytest.param(
            {"keyfile_dict": {"type": "service_account", "private_key": SECRET}}, id="key-without-parts"
        ),
        pytest.param(
            {
                "keyfile_dict": {
                    "type": "service_account",
                    "client_email": "a@p.iam.gserviceaccount.com",
                    "token_uri": "http://127.0.0.1:9/token",
                    "private_key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n",
                }
            },
            id="key-that-is-none",
        ),
    ],
)
def test_secrets_of_the_connection_go_nowhere(vertex, monkeypatch, caplog, extra):
    connection = {"conn_type": "google_cloud_platform", "password": SECRET, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SECRETIVE", json.dumps(connection))
    monkeypatch.setattr(GeminiBatchJobTrigger, "patience", Patience(refusals=0.1))
    (name,) = seed(vertex, run_seconds=0.0)
    waiting = trigger(name, gcp_conn_id="secretive")
    event = asyncio.run(first_event(waiting))
    assert event["outcome"] == ("ended" if "is_anonymous" in extra else "lost")
    assert SECRET not in json.dumps([waiting.serialize(), event])
    assert SECRET not in caplog.text
