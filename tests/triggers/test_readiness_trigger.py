"""GeminiBatchReadinessTrigger against the local servers."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from typing import Any

import pytest

from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.jobs.state import JobState
from airflow_gemini_batch.triggers.probes import JobProbe, OutputProbe, probe_from_json, probe_to_json
from airflow_gemini_batch.triggers.readiness import GeminiBatchReadinessTrigger
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.heartbeat import heartbeat
from tests.support.jobs import make_client, seed, wait_for
from tests.support.requests_data import upload
from tests.support.tasks import first_event, reborn
from tests.support.wire_format import BOTH_WAYS

GOOD_ROW = {
    "status": "",
    "response": {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]},
}


def trigger(probe: JobProbe | OutputProbe, **arguments: Any) -> GeminiBatchReadinessTrigger:
    defaults = {"gcp_conn_id": "google_cloud_default", "poll_interval": 0.05}
    return GeminiBatchReadinessTrigger(probe=probe_to_json(probe), **{**defaults, **arguments})


def event_of(probe: JobProbe | OutputProbe, **arguments: Any) -> dict[str, Any]:
    """Wait as the triggerer does; the event crosses to the worker as JSON."""
    event = asyncio.run(first_event(reborn(trigger(probe, **arguments))))
    crossed: dict[str, Any] = json.loads(json.dumps(event))
    return crossed


def test_tells_of_a_job_that_becomes_ready(vertex):
    (name,) = seed(vertex, run_seconds=0.3)
    event = event_of(JobProbe(job_name=str(name)))
    assert event == {
        "version": 1,
        "readiness": "ready",
        "reason": f"{name} (SUCCEEDED)",
        "result": {
            "job_name": str(name),
            "state": "JOB_STATE_SUCCEEDED",
            "output": "gs://nowhere/bare-job-0",
            "jobs": [str(name)],
            "outputs": ["gs://nowhere/bare-job-0"],
        },
    }
    assert vertex.requests.counts["get"] > 1


def test_same_reason_is_logged_once(vertex, mocker):
    (name,) = seed(vertex, run_seconds=0.3)
    log = mocker.patch.object(GeminiBatchReadinessTrigger, "log", mocker.Mock())
    event_of(JobProbe(job_name=str(name)))
    logged = [call.args[1] for call in log.info.call_args_list]
    assert logged[-1] == f"{name} (SUCCEEDED)"
    assert len(logged) == len(set(logged)) < vertex.requests.counts["get"]


def test_tells_why_something_will_never_be_ready(vertex):
    (name,) = seed(vertex)
    make_client(vertex).cancel(name)
    event = event_of(JobProbe(job_name=str(name)))
    assert (event["readiness"], event["result"]) == ("never", None)
    assert f"{name} (CANCELLED)" in event["reason"]
    assert name.console_url in event["reason"]


def test_waits_for_a_job_that_does_not_exist_yet(vertex, bucket):
    async def submitted_later() -> tuple[Any, VertexJobName]:
        waiting = asyncio.create_task(first_event(trigger(JobProbe(labels={"shop": bucket}))))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        (name,) = await asyncio.to_thread(seed, vertex, labels={"shop": bucket}, run_seconds=0.0)
        return await waiting, name

    event, name = asyncio.run(submitted_later())
    assert event["result"]["job_name"] == str(name)


def test_waits_for_output_that_fills(gemini_batch_stack, vertex, bucket):
    folder = f"gs://{bucket}/out"

    async def filled_later() -> Any:
        waiting = asyncio.create_task(first_event(trigger(OutputProbe(folder, expected_rows=2))))
        for rows in (1, 2):
            await asyncio.sleep(0.2)
            assert not waiting.done()
            await asyncio.to_thread(
                upload, gemini_batch_stack, bucket, "out/predictions.jsonl", [GOOD_ROW] * rows
            )
        return await waiting

    assert asyncio.run(filled_later())["result"] == {
        "output": folder,
        "rows": 2,
        "failed": 0,
        "outputs": [folder],
    }


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
def test_survives_answers_that_are_none(vertex, fault, arguments):
    (name,) = seed(vertex, run_seconds=0.0)
    vertex.faults.plan(fault, on="get", times=3, **arguments)
    assert event_of(JobProbe(job_name=str(name)))["readiness"] == "ready"
    assert vertex.faults.planned() == []


def test_refusal_ends_the_wait_with_its_reason(vertex):
    with pytest.raises(VertexApiError, match="404 NOT_FOUND"):
        event_of(JobProbe(job_name="projects/demo-project/locations/us-central1/batchPredictionJobs/42"))


def test_looks_in_the_place_that_it_is_given(vertex, bucket):
    (name,) = seed(vertex, location="europe-west4", labels={"shop": bucket}, run_seconds=0.0)
    probe = JobProbe(labels={"shop": bucket})
    assert event_of(probe, location="europe-west4")["result"]["job_name"] == str(name)
    with pytest.raises(VertexApiError, match="listing the jobs of another-project in europe-west4"):
        event_of(probe, location="europe-west4", project_id="another-project")


def test_only_reads(vertex, bucket):
    seed(vertex, labels={"shop": bucket}, run_seconds=0.0)
    event_of(JobProbe(labels={"shop": bucket}))
    assert set(vertex.requests.counts) == {"list"}


async def test_loop_stays_free_while_the_looks_take_long(vertex):
    names = seed(vertex, 10, run_seconds=0.0)
    for name in names:
        wait_for(make_client(vertex), name, JobState.SUCCEEDED)
    vertex.faults.plan("delay", on="get", times=None, seconds=0.7)
    began = time.monotonic()
    async with heartbeat() as heart:
        events = await asyncio.gather(*(first_event(trigger(JobProbe(job_name=str(name)))) for name in names))
    assert {event["readiness"] for event in events} == {"ready"}
    assert heart.worst_lag < 0.5
    # Side by side, not one after the other.
    assert time.monotonic() - began < 5


PROBES = [
    pytest.param(
        JobProbe(job_name="projects/my-shop/locations/us-central1/batchPredictionJobs/1"), id="job-by-name"
    ),
    pytest.param(JobProbe(labels={"airflow_dag": "nightly"}), id="job-by-labels"),
    pytest.param(
        OutputProbe("gs://b-1/out", expected_from=["gs://b-1/in.jsonl"], max_failed_fraction=0.1), id="output"
    ),
]


@pytest.mark.parametrize("both_ways", BOTH_WAYS)
@pytest.mark.parametrize("probe", PROBES)
def test_survives_being_stored(both_ways, probe):
    given = {
        "probe": probe_to_json(probe),
        "gcp_conn_id": "google_eu",
        "project_id": "shop-project",
        "location": "europe-west4",
        "impersonation_chain": ["a@p.iam", "b@p.iam"],
        "poll_interval": 7.5,
    }
    path, arguments = GeminiBatchReadinessTrigger(**given).serialize()
    assert path == "airflow_gemini_batch.triggers.readiness.GeminiBatchReadinessTrigger"
    assert arguments == given
    after = GeminiBatchReadinessTrigger(**both_ways(arguments))
    assert after.serialize() == (path, given)
    assert probe_from_json(after.probe) == probe


def test_every_argument_is_stored():
    stored = trigger(JobProbe()).serialize()[1]
    assert stored.keys() == inspect.signature(GeminiBatchReadinessTrigger).parameters.keys()


SECRET = "planted-secret-7d1f"


def test_secrets_of_the_connection_go_nowhere(vertex, monkeypatch, caplog):
    extra = {"is_anonymous": True, "project": "demo-project", "location": "us-central1", "note": SECRET}
    connection = {"conn_type": "google_cloud_platform", "password": SECRET, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SECRETIVE", json.dumps(connection))
    (name,) = seed(vertex, run_seconds=0.0)
    waiting = trigger(JobProbe(job_name=str(name)), gcp_conn_id="secretive")
    event = asyncio.run(first_event(waiting))
    assert SECRET not in json.dumps([waiting.serialize(), event]) + caplog.text
