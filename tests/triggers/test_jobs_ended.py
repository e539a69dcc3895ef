"""GeminiBatchJobsEndedTrigger against the local server: what it tells, and what it costs."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.triggers import watched_jobs
from airflow_gemini_batch.triggers.jobs_ended import GeminiBatchJobsEndedTrigger
from airflow_gemini_batch.version_compat import HAS_ASSET_WATCHERS
from tests.support.jobs import make_client, seed, wait_for
from tests.support.tasks import reborn
from tests.support.wire_format import BOTH_WAYS

needs_watchers = pytest.mark.skipif(not HAS_ASSET_WATCHERS, reason="assets of this Airflow have no watchers")

HIDDEN = 0.3
"""In seconds: long enough for several questions."""


def trigger(shop: str, **arguments: Any) -> GeminiBatchJobsEndedTrigger:
    """Return a trigger for the jobs of one test."""
    defaults = {"labels": {"shop": shop}, "poll_interval": 0.05}
    return GeminiBatchJobsEndedTrigger(**{**defaults, **arguments})


class Heard:
    """A trigger that runs as in a triggerer, and the names of the jobs that it has told of.

    :param store: what Airflow keeps for the asset.
    """

    def __init__(self, trigger: GeminiBatchJobsEndedTrigger, store: Store | None = None) -> None:
        self._trigger = reborn(trigger)
        self._trigger.asset_state_store = store
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Heard:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._task.done():
            self._task.cancel()
        with pytest.raises(asyncio.CancelledError):  # and nothing that it raised itself
            await self._task

    async def _run(self) -> None:
        async with aclosing(self._trigger.run()) as events:
            async for event in events:
                self.events.append(json.loads(json.dumps(event.payload)))

    @property
    def names(self) -> list[str]:
        return [event["job_name"] for event in self.events]

    async def has(self, *names: object) -> None:
        """Wait until it has told of so many jobs, then compare."""
        async with asyncio.timeout(20):
            while len(self.events) < len(names):  # noqa: ASYNC110 - a list gives no event
                await asyncio.sleep(0.01)
        assert sorted(self.names) == sorted(map(str, names))


class Store:
    """What Airflow 3.3 keeps for an asset."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


class BlockingStore:
    """The same in Airflow 3.3.0."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        assert threading.current_thread() is not threading.main_thread()
        self.values[key] = json.loads(json.dumps(value))


class BrokenStore(Store):
    async def aget(self, key: str, default: Any = None) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")

    async def aset(self, key: str, value: Any) -> None:
        raise ValueError("Task has 2 concrete inlets and outlets")


@pytest.fixture
async def nothing_stays() -> AsyncIterator[None]:
    """Fail a test that leaves a list, or a task."""
    before = asyncio.all_tasks()
    yield
    gc.collect(1)
    await asyncio.sleep(0)
    assert watched_jobs._lists == {}
    assert {task for task in asyncio.all_tasks() - before if not task.done()} <= {asyncio.current_task()}


@pytest.fixture
def logged(monkeypatch) -> list[str]:
    """What the triggers log; Airflow 3 does not give it to pytest."""
    lines: list[str] = []

    class Log:
        def info(self, message: str, *arguments: object) -> None:
            lines.append(message % arguments)

        warning = info

    monkeypatch.setattr(GeminiBatchJobsEndedTrigger, "log", Log())
    return lines


def times(logged: list[str], text: str) -> int:
    return sum(text in line for line in logged)


pytestmark = pytest.mark.usefixtures("nothing_stays")


def ended(vertex: Any, shop: str, count: int = 1, **fields: Any) -> list[Any]:
    """Return jobs that have ended."""
    names = seed(vertex, count, labels={"shop": shop}, run_seconds=0.0, **fields)
    for name in names:
        wait_for(make_client(vertex), name, JobState.SUCCEEDED)
    return names


@needs_watchers
async def test_tells_once_of_each_job_that_ends(vertex, bucket):
    before = ended(vertex, bucket, 2)
    async with Heard(trigger(bucket)) as heard:
        await heard.has(*before)
        later = seed(vertex, labels={"shop": bucket, "more": "x"}, run_seconds=0.2, display_name="mine")
        seed(vertex, labels={"shop": "another"}, run_seconds=0.0)
        await heard.has(*before, *later)
        await asyncio.sleep(HIDDEN)
    assert len(heard.events) == 3
    last = heard.events[-1]
    assert (last["state"], last["display_name"]) == ("JOB_STATE_SUCCEEDED", "mine-0")
    assert (last["labels"], last["successful_count"]) == ({"shop": bucket, "more": "x"}, 100)
    assert last["create_time"] <= last["start_time"] <= last["end_time"]


@needs_watchers
async def test_list_of_many_pages_is_read_to_its_end(vertex, bucket, monkeypatch):
    monkeypatch.setattr("airflow_gemini_batch.vertex.rest.LARGE_PAGE_SIZE", 3)
    names = ended(vertex, bucket, 8)
    async with Heard(trigger(bucket)) as heard:
        await heard.has(*names)


@needs_watchers
async def test_restart_tells_what_ended_meanwhile_and_what_it_does_not_know_to_be_told(vertex, bucket):
    first = ended(vertex, bucket)
    async with Heard(trigger(bucket)) as heard:
        await heard.has(*first)
    meanwhile = ended(vertex, bucket)
    async with Heard(trigger(bucket)) as again:
        await again.has(*first, *meanwhile)


@needs_watchers
@pytest.mark.parametrize("kept", [Store, BlockingStore])
async def test_restart_tells_nothing_again_where_airflow_keeps_what_was_told(vertex, bucket, kept):
    store, first = kept(), ended(vertex, bucket, 3)
    async with Heard(trigger(bucket), store) as heard:
        await heard.has(*first)
        async with asyncio.timeout(10):
            while not store.values:  # noqa: ASYNC110 - a dict gives no event
                await asyncio.sleep(0.01)
    meanwhile = ended(vertex, bucket)
    async with Heard(trigger(bucket), store) as again:
        await again.has(*meanwhile)
        await asyncio.sleep(HIDDEN)
    assert len(again.events) == 1
    # Another watcher of the same asset has names of its own.
    async with Heard(trigger(bucket, project_id="demo-project"), store) as other:
        await other.has(*first, *meanwhile)


@needs_watchers
async def test_airflow_that_cannot_keep_it_is_no_reason_to_stop(vertex, bucket, logged):
    async with Heard(trigger(bucket), BrokenStore()) as heard:
        first = ended(vertex, bucket)
        await heard.has(*first)
        await asyncio.sleep(HIDDEN)
        await heard.has(*first, *ended(vertex, bucket))
    assert times(logged, "Airflow can't keep which jobs were told") == 1


@needs_watchers
async def test_ended_before_the_look_back_is_not_told(vertex, bucket):
    ended(vertex, bucket)
    await asyncio.sleep(0.2)
    async with Heard(trigger(bucket, look_back=0.1)) as heard:
        await asyncio.sleep(HIDDEN)
    assert heard.events == []


@needs_watchers
@pytest.mark.parametrize(
    ("fault", "arguments"),
    [
        ("error", {"status": "RESOURCE_EXHAUSTED"}),
        ("error", {"status": "UNAVAILABLE"}),
        ("error", {"status": "PERMISSION_DENIED"}),
        ("html_answer", {}),
        ("drop_after", {}),
    ],
)
async def test_error_of_the_service_is_logged_once_and_hides_no_job(vertex, bucket, logged, fault, arguments):
    vertex.faults.plan(fault, on="list", times=3, **arguments)
    names = ended(vertex, bucket)
    async with Heard(trigger(bucket, poll_interval=0.02)) as heard:
        await heard.has(*names)
    assert vertex.faults.planned() == []
    assert times(logged, "Could not list the jobs that are watched") == 1
    assert times(logged, "can be listed again") == 1


@needs_watchers
async def test_connection_without_a_location_is_asked_for_again(vertex, bucket, logged, monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_NOWHERE", json.dumps({"conn_type": "google_cloud_platform", "extra": {}})
    )
    async with Heard(trigger(bucket, gcp_conn_id="nowhere", poll_interval=0.01)) as heard:
        async with asyncio.timeout(10):
            while not logged:  # noqa: ASYNC110 - a log gives no event
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    assert heard.events == []
    assert times(logged, "no location is set") == 1


@needs_watchers
async def test_watchers_of_a_place_share_client_and_list(vertex, bucket):
    watchers = 20
    shops = [f"{bucket}-{number}" for number in range(watchers)]
    names = [ended(vertex, shop)[0] for shop in shops]
    vertex.requests.clear()
    heard = [Heard(trigger(shop, poll_interval=0.5)) for shop in shops]
    async with asyncio.TaskGroup() as all_of_them:
        for each in heard:
            all_of_them.create_task(each.__aenter__())
    for each, name in zip(heard, names, strict=True):
        await each.has(name)
    assert len(watched_jobs._lists) == 1
    vertex.requests.clear()
    await asyncio.sleep(2.0)
    for each in heard:
        await each.__aexit__()
    # Four intervals; each watcher by itself would ask 80 times.
    assert set(vertex.requests.counts) == {"list"}
    assert vertex.requests.counts["list"] <= 10


@needs_watchers
async def test_keeps_the_jobs_only_that_it_tells_of(vertex, bucket):
    seed(vertex, 50, labels={"shop": "another"}, run_seconds=0.0)
    names = ended(vertex, bucket)
    # Their only label in common is none, so the server lists the jobs of both.
    async with Heard(trigger(bucket)) as heard, Heard(trigger("nobody")):
        await heard.has(*names)
        (jobs,) = watched_jobs._lists.values()
        assert len(jobs._known) > 50
        assert [str(job.name) for _, job in jobs._known.values() if job] == list(map(str, names))


@needs_watchers
@pytest.mark.parametrize("there_and_back", BOTH_WAYS)
def test_arguments_survive_storage(there_and_back):
    arguments = {
        "labels": json.dumps({"app": "books", "team": "search"}),
        "location": "us-central1",
        "gcp_conn_id": "vertex",
        "project_id": "demo-project",
        "impersonation_chain": ["a@b", "c@d"],
        "quota_project_id": "quota-project",
        "poll_interval": 30.0,
        "look_back": 3600.0,
    }
    made = GeminiBatchJobsEndedTrigger(**arguments)
    assert made.serialize()[1] == arguments
    path, stored = there_and_back(list(made.serialize()))
    assert reborn(made).serialize() == (path, stored)


@needs_watchers
def test_airflow_finds_the_trigger_of_an_asset_again():
    encoders = pytest.importorskip("airflow.serialization.encoders", reason="of Airflow 3.2 and later")
    from airflow.models.trigger import Trigger
    from airflow.sdk import Asset, AssetWatcher
    from airflow.triggers.base import BaseEventTrigger

    labels = {"team": "search", "app": "books"}
    watcher = AssetWatcher(name="ends", trigger=GeminiBatchJobsEndedTrigger(labels=labels))
    asset = Asset("answers", watchers=[watcher])
    encoded = encoders.encode_trigger(asset.watchers[0].trigger)
    # As it is in a serialised DAG.
    path, arguments = encoded["classpath"], json.loads(json.dumps(encoded["kwargs"]))
    stored = Trigger._decrypt_kwargs(Trigger.encrypt_kwargs(arguments))
    assert BaseEventTrigger.hash(path, arguments) == BaseEventTrigger.hash(path, stored)
    decoders = pytest.importorskip("airflow.serialization.decoders")
    decode = decoders.smart_decode_trigger_kwargs  # as the triggerer does
    again = GeminiBatchJobsEndedTrigger(**{name: decode(value) for name, value in stored.items()})
    other_order = GeminiBatchJobsEndedTrigger(labels=dict(reversed(labels.items())))
    assert again.serialize() == other_order.serialize()
    assert again.labels == labels


@needs_watchers
def test_airflow_keeps_what_was_told_by_the_calls_that_are_made():
    context = pytest.importorskip("airflow.sdk.execution_time.context")
    store = getattr(context, "AssetStateStoreAccessors", None)
    if store is None:
        pytest.skip("this Airflow keeps nothing for an asset")
    for name in ("get", "set"):
        assert callable(getattr(store, f"a{name}", None) or getattr(store, name))


@needs_watchers
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": {}}, "labels: expected a dict with one label or more, got {}"),
        ({"labels": "team=search"}, "labels: expected a dict"),
        ({"labels": '["team"]'}, "labels: expected a dict"),
        ({"labels": {"team": 1}}, "labels: expected a dict"),
        ({"poll_interval": 0}, "poll_interval: expected a number of seconds above 0 and up to 86400, got 0"),
        ({"poll_interval": True}, "poll_interval: expected a number of seconds"),
        ({"look_back": 1e9}, "look_back: expected a number of seconds above 0 and up to 2592000, got"),
        ({"look_back": float("nan")}, "look_back: expected a number of seconds"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InvalidRequestError, match=message.replace("(", r"\(")):
        trigger("shop", **arguments)


@pytest.mark.skipif(HAS_ASSET_WATCHERS, reason="this Airflow has them")
def test_without_asset_watchers_it_says_what_it_needs():
    with pytest.raises(GeminiBatchError, match="needs Airflow 3"):
        trigger("shop")
