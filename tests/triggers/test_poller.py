"""Many triggers, one poller: what it asks, whom it tells, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from airflow_gemini_batch.exceptions import CredentialsError
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.triggers import poller
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger
from airflow_gemini_batch.triggers.poller import AT_ONCE
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.heartbeat import heartbeat
from tests.support.jobs import make_client, seed, wait_for
from tests.support.tasks import first_event

MANY = 200


def trigger(name: VertexJobName, **arguments: Any) -> GeminiBatchJobTrigger:
    defaults = {"submitted_at": time.time(), "gcp_conn_id": "google_cloud_default", "poll_interval": 0.05}
    return GeminiBatchJobTrigger(job_name=str(name), **{**defaults, **arguments})


async def states_of(names: list[VertexJobName], **arguments: Any) -> set[str]:
    """Wait for jobs and return the states that they were told to have ended in."""
    events = await asyncio.gather(*(first_event(trigger(name, **arguments)) for name in names))
    assert [event["job_name"] for event in events] == list(map(str, names))
    assert {event["outcome"] for event in events} == {"ended"}
    return {event["state"] for event in events}


async def asked(vertex: Any, method: str, times: int = 1) -> None:
    """Wait until the server has been asked so often."""
    async with asyncio.timeout(10):
        while vertex.requests.counts.get(method, 0) < times:  # noqa: ASYNC110 - a counter gives no event
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
async def nothing_stays() -> AsyncIterator[None]:
    """Fail a test that leaves a poller, a task, or a connection."""
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    before = asyncio.all_tasks()
    yield
    gc.collect(1)  # what is young: all of it takes a second
    await asyncio.sleep(0)
    assert poller._pollers == {}
    assert {task for task in asyncio.all_tasks() - before if not task.done()} <= {asyncio.current_task()}
    assert complaints == []


async def test_many_jobs_share_a_list_and_its_ends_too(vertex):
    names = seed(vertex, MANY, run_seconds=0.5, spread_seconds=0.5)
    async with heartbeat() as heart:
        assert await states_of(names) == {"JOB_STATE_SUCCEEDED"}
    assert vertex.requests.counts["list"] < MANY / 2
    # The stragglers, few enough for that.
    assert vertex.requests.counts.get("get", 0) < MANY / 10
    assert heart.worst_lag < 0.5


async def test_restart_after_a_night_asks_nobody_by_name(vertex):
    names = seed(vertex, MANY, run_seconds=0.0)
    wait_for(make_client(vertex), names[-1], JobState.SUCCEEDED)
    vertex.requests.clear()
    await states_of(names)
    assert set(vertex.requests.counts) == {"list"}
    assert vertex.requests.counts["list"] <= 4


async def test_few_jobs_are_asked_about_by_name(vertex):
    await states_of(seed(vertex, 3, run_seconds=0.2))
    assert set(vertex.requests.counts) == {"get"}


async def test_job_that_left_the_list_is_asked_about_by_name(vertex):
    (short,) = seed(vertex, run_seconds=0.3)
    long = seed(vertex, 10)
    waiting = [asyncio.create_task(first_event(trigger(name))) for name in long]
    assert await states_of([short]) == {"JOB_STATE_SUCCEEDED"}
    gets = vertex.requests.calls("get")
    assert {call["path"].rpartition("/")[2] for call in gets} == {short.job_id}
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)


async def test_jobs_that_the_list_does_not_show_are_not_lost(vertex):
    names = seed(vertex, 40, run_seconds=0.5)
    vertex.faults.plan("stale_list", seconds=3600)
    assert await states_of(names) == {"JOB_STATE_SUCCEEDED"}


async def test_jobs_of_a_project_named_by_its_id_are_found_in_the_list(vertex):
    numbered = seed(vertex, 20, run_seconds=0.0)
    names = [VertexJobName("demo-project", name.location, name.job_id) for name in numbered]
    await states_of(names)
    assert set(vertex.requests.counts) == {"list"}


async def test_each_location_has_its_own_list(vertex):
    names = [*seed(vertex, 8, run_seconds=0.3), *seed(vertex, 8, run_seconds=0.3, location="europe-west4")]
    await states_of(names)
    listed = {call["path"].split("/")[5] for call in vertex.requests.calls("list")}
    assert listed == {"us-central1", "europe-west4"}


async def test_two_triggers_of_each_job_both_hear(vertex):
    names = seed(vertex, 20, run_seconds=0.3)
    await states_of(names + names)


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        pytest.param("error", {"status": "RESOURCE_EXHAUSTED"}, id="429"),
        pytest.param("error", {"status": "UNAVAILABLE"}, id="503"),
        pytest.param("empty_answer", {}, id="empty"),
        pytest.param("html_answer", {}, id="html"),
        pytest.param("drop_before", {}, id="dropped"),
    ],
)
async def test_errors_of_the_list_are_borne_by_all_and_hurt_none(vertex, fault, arguments):
    names = seed(vertex, 40, run_seconds=0.0)
    vertex.faults.plan(fault, on="list", times=3, **arguments)
    assert await states_of(names) == {"JOB_STATE_SUCCEEDED"}
    assert vertex.faults.planned() == []
    # Three in vain, and what the answers took: not one for each job.
    assert vertex.requests.counts["list"] < 10
    assert "get" not in vertex.requests.counts
    assert gc.isenabled()


async def test_service_that_is_away_is_given_a_rest_by_all(vertex):
    names = seed(vertex, MANY, run_seconds=0.0)
    for method in ("list", "get"):
        vertex.faults.plan("error", on=method, times=None, status="RESOURCE_EXHAUSTED")
    waiting = [asyncio.create_task(first_event(trigger(name, poll_interval=0.2))) for name in names]
    await asyncio.sleep(1.2)
    # 0.2 s, 0.4 s, 0.8 s: whoever subscribes meanwhile waits too.
    waiting += [asyncio.create_task(first_event(trigger(name))) for name in names[:5]]
    await asyncio.sleep(0.1)
    assert sum(vertex.requests.counts.values()) <= 4
    vertex.faults.clear()
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"ended"}


async def test_questions_by_name_cease_when_none_is_answered(vertex):
    names = seed(vertex, MANY, run_seconds=0.0)
    vertex.faults.plan("error", on="list", times=None, status="PERMISSION_DENIED")
    vertex.faults.plan("error", on="get", times=None, status="RESOURCE_EXHAUSTED")
    waiting = [asyncio.create_task(first_event(trigger(name, poll_interval=0.5))) for name in names]
    await asked(vertex, "get", AT_ONCE)
    await asyncio.sleep(0.2)
    assert vertex.requests.counts["get"] <= 2 * AT_ONCE
    vertex.faults.clear()
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"ended"}


@pytest.mark.parametrize("status", ["PERMISSION_DENIED", "NOT_FOUND", "INVALID_ARGUMENT"])
async def test_list_that_is_refused_is_done_without(vertex, caplog, status):
    names = seed(vertex, 40, run_seconds=0.3)
    vertex.faults.plan("error", on="list", times=None, status=status)
    assert await states_of(names) == {"JOB_STATE_SUCCEEDED"}
    assert caplog.text.count("Could not list the jobs") == 1


async def test_large_page_that_is_refused_is_asked_for_smaller(vertex):
    names = seed(vertex, 130, run_seconds=0.0)
    vertex.faults.plan("error", on="list", times=1, status="INVALID_ARGUMENT", message="page size")
    await states_of(names)
    calls = vertex.requests.calls("list")
    assert ["pageSize=1000" in call["query"] for call in calls][:2] == [True, False]
    assert all("pageSize=100&" in call["query"] for call in calls[1:])
    assert "get" not in vertex.requests.counts


async def test_error_of_one_job_concerns_that_job_only(vertex):
    (broken,) = seed(vertex, display_name="broken", run_seconds=0.0)
    (sound,) = seed(vertex, run_seconds=0.2)
    vertex.faults.plan("error", on="get", job="broken-*", times=None, status="UNAVAILABLE")
    waiting = asyncio.create_task(first_event(trigger(broken)))
    assert await asyncio.wait_for(states_of([sound]), 60) == {"JOB_STATE_SUCCEEDED"}
    assert not waiting.done()
    vertex.faults.clear()
    assert (await waiting)["state"] == "JOB_STATE_SUCCEEDED"


async def test_limit_of_a_listed_job_is_kept_though_nothing_changes(vertex):
    names = seed(vertex, 20)
    events = await asyncio.gather(*(first_event(trigger(name, run_timeout=0.72)) for name in names))
    assert {event["outcome"] for event in events} == {"timed_out"}
    assert "the limit (run_timeout) is 0.0002 h" in events[0]["message"]
    assert "get" not in vertex.requests.counts


async def test_cancelled_trigger_leaves_the_others_waiting(vertex):
    names = seed(vertex, 20, run_seconds=0.8)
    waiting = [asyncio.create_task(first_event(trigger(name))) for name in names]
    await asked(vertex, "list")
    waiting[0].cancel()
    assert {event["outcome"] for event in await asyncio.gather(*waiting[1:])} == {"ended"}
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]


@pytest.mark.parametrize("count", [1, 20])
async def test_last_trigger_takes_the_poller_along(vertex, count):
    waiting = [asyncio.create_task(first_event(trigger(name))) for name in seed(vertex, count)]
    await asked(vertex, "get" if count == 1 else "list")
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert poller._pollers == {}
    vertex.requests.clear()
    await asyncio.sleep(0.2)
    assert vertex.requests.counts == {}


async def test_trigger_cancelled_while_the_connection_is_read_leaves_nothing(vertex, monkeypatch):
    connecting = asyncio.Event()

    async def connect(*_: Any) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(poller, "connect", connect)
    waiting = asyncio.create_task(first_event(trigger(*seed(vertex))))
    await connecting.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_connection_that_fails_is_read_again(vertex, monkeypatch):
    connect, failures = poller.connect, iter([CredentialsError("no key"), CredentialsError("no key")])

    async def connect_at_last(*arguments: Any) -> Any:
        if failure := next(failures, None):
            raise failure
        return await connect(*arguments)

    monkeypatch.setattr(poller, "connect", connect_at_last)
    assert await states_of(seed(vertex, 20, run_seconds=0.0)) == {"JOB_STATE_SUCCEEDED"}
    assert next(failures, None) is None


async def test_poller_that_was_cancelled_is_followed_by_another(vertex):
    names = seed(vertex, 20, run_seconds=1.0)
    waiting = [asyncio.create_task(first_event(trigger(name))) for name in names]
    await asked(vertex, "list")
    (first,) = poller._pollers.values()
    first._task.cancel()
    assert {event["outcome"] for event in await asyncio.gather(*waiting)} == {"ended"}


async def test_poller_that_failed_is_followed_by_another(vertex, monkeypatch, caplog):
    connect, failures = poller.connect, iter([ZeroDivisionError("a slip")])

    async def fail_first(*arguments: Any) -> Any:
        if failure := next(failures, None):
            raise failure
        return await connect(*arguments)

    monkeypatch.setattr(poller, "connect", fail_first)
    assert await states_of(seed(vertex, 20, run_seconds=0.0)) == {"JOB_STATE_SUCCEEDED"}
    assert "has failed" in caplog.text
    assert "a slip" in caplog.text


async def test_poller_that_hangs_is_followed_by_another(vertex, monkeypatch):
    connect, hangs = poller.connect, iter([True])

    async def hang_first(*arguments: Any) -> Any:
        if next(hangs, False):
            await asyncio.Event().wait()
        return await connect(*arguments)

    monkeypatch.setattr(poller, "connect", hang_first)
    monkeypatch.setattr(GeminiBatchJobTrigger, "patience", Patience(poller=0.2))
    assert await states_of(seed(vertex, 20, run_seconds=0.0)) == {"JOB_STATE_SUCCEEDED"}


_owner: contextvars.ContextVar[str] = contextvars.ContextVar("owner", default="nobody")


async def test_poller_does_not_work_in_the_name_of_the_first_trigger(vertex, monkeypatch):
    # Airflow sorts the lines of a log by what a trigger has put into its context.
    connect, owners = poller.connect, []

    async def note(*arguments: Any) -> Any:
        owners.append(_owner.get())
        return await connect(*arguments)

    monkeypatch.setattr(poller, "connect", note)
    _owner.set("the first trigger")
    await states_of(seed(vertex, run_seconds=0.0))
    assert owners == ["nobody"]
