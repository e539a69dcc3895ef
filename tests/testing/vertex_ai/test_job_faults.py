"""Faults of jobs: their end, their output, their rows."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import VertexCaller, job_body, prompts, short


def _run(call: VertexCaller, folder: Folder, rows: int = 10, **fields: Any) -> dict[str, Any]:
    return call.run(job_body(folder.write(prompts(rows)), folder.uri("out"), **fields))


def _keys(folder: Folder, job: dict[str, Any]) -> list[str]:
    rows = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    return [row["request"]["labels"]["key"] for row in rows]


DONE_HALF = {"successfulCount": "5", "incompleteCount": "5"}
ENDS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any] | None, dict[str, str] | None]] = {
    # case: fault, parameters, expected state, expected error, expected completionStats
    "expires in the queue": (
        "expire_queued",
        {},
        "EXPIRED",
        {"code": 4, "message": "The job was queued for longer than 72 hours."},
        None,
    ),
    "expires while running": (
        "expire_running",
        {},
        "EXPIRED",
        {"code": 4, "message": "The job ran for longer than 24 hours."},
        DONE_HALF,
    ),
    "expires with nothing done": (
        "expire_running",
        {"share": 0.0},
        "EXPIRED",
        {"code": 4, "message": "The job ran for longer than 24 hours."},
        {"incompleteCount": "10"},
    ),
    "finishes partly": ("partly_succeed", {}, "PARTIALLY_SUCCEEDED", None, DONE_HALF),
    "fails": ("fail", {}, "FAILED", {"code": 13, "message": "INTERNAL"}, {"incompleteCount": "10"}),
    "fails late for a reason": (
        "fail",
        {"status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded.", "share": 0.5},
        "FAILED",
        {"code": 8, "message": "Quota exceeded."},
        DONE_HALF,
    ),
    "fails every row": (
        "all_rows_failed",
        {},
        "SUCCEEDED",
        None,
        {"failedCount": "10"},
    ),
}


@pytest.mark.parametrize(("name", "parameters", "state", "error", "stats"), ENDS.values(), ids=ENDS)
def test_ends_jobs_otherwise(
    vertex: LocalVertex,
    call: VertexCaller,
    folder: Folder,
    name: str,
    parameters: dict[str, Any],
    state: str,
    error: dict[str, Any] | None,
    stats: dict[str, str] | None,
) -> None:
    vertex.faults.plan(name, **parameters)
    job = _run(call, folder)
    assert (job["state"], job.get("error"), job.get("completionStats")) == (
        f"JOB_STATE_{state}",
        error,
        stats,
    )
    written = int((stats or {}).get("successfulCount", 0)) + int((stats or {}).get("failedCount", 0))
    if stats:
        assert len(_keys(folder, job)) == written
    else:
        assert "outputInfo" not in job
    if not written:
        assert folder.objects() == []
    # The next job is struck no more.
    assert _run(call, folder)["completionStats"] == {"successfulCount": "10"}


def test_pauses_for_ever_until_cancelled(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("pause")
    job = call.create(job_body(folder.write(prompts(2)), folder.uri("out")))
    job = call.wait(job, "PAUSED")
    assert "endTime" not in job
    assert call.send("DELETE", f"{call.jobs}/{short(job)}").status_code == 400
    call.cancel(short(job))
    call.wait(job, "CANCELLED")


@pytest.mark.parametrize(("name", "state"), [("cancel_comes_late", "SUCCEEDED"), ("cancel_fails", "FAILED")])
def test_ends_cancelling_otherwise(
    vertex: LocalVertex, call: VertexCaller, folder: Folder, name: str, state: str
) -> None:
    vertex.faults.plan("slow", queue_seconds=0.0, run_seconds=30.0)
    vertex.faults.plan(name)
    job = call.wait(call.create(job_body(folder.write(prompts(4)), folder.uri("out"))), "RUNNING")
    call.cancel(short(job))
    call.wait(job, "CANCELLING")
    assert call.wait(job, state)["state"] == f"JOB_STATE_{state}"


def test_carries_objects_in_the_details_of_an_error(
    vertex: LocalVertex, call: VertexCaller, folder: Folder
) -> None:
    vertex.faults.plan("fail")
    vertex.faults.plan("error_details")
    assert [detail["@type"] for detail in _run(call, folder)["error"]["details"]] == [
        "type.googleapis.com/google.rpc.ErrorInfo",
        "type.googleapis.com/google.rpc.DebugInfo",
    ]


def test_loses_the_output(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("lose_output")
    job = _run(call, folder)
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert job["completionStats"] == {"successfulCount": "10"}
    assert job["outputInfo"]["gcsOutputDirectory"].startswith(folder.uri("out/prediction-model-"))
    assert folder.objects() == []


def test_writes_shards(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("shards", parts=3)
    job = _run(call, folder)
    names = sorted(name.partition("/")[2] for name in folder.objects())
    assert names == [f"predictions.jsonl-0000{part}-of-00003" for part in range(3)]
    assert sorted(_keys(folder, job)) == sorted(f"k{number}" for number in range(10))


def test_exports_while_it_runs(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("slow_export", parts=2, seconds=0.4)
    job = call.create(job_body(folder.write(prompts(10)), folder.uri("out")))
    deadline = time.monotonic() + 60
    while not (found := folder.objects()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(found) == 1
    assert call.get(short(job))["state"] == "JOB_STATE_RUNNING"
    call.wait(job)
    assert len(folder.objects()) == 2


def test_leaves_incremental_predictions(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("incremental_file")
    job = _run(call, folder)
    names = {name.partition("/")[2] for name in folder.objects()}
    assert names == {"predictions.jsonl", "incremental_predictions.jsonl"}
    assert len(_keys(folder, job)) == 10


def test_repeats_rows(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("repeat_rows", share=0.5)
    keys = _keys(folder, _run(call, folder, rows=20))
    assert len(set(keys)) == 20
    assert 21 <= len(keys) < 40


def test_leaves_rows_out(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("missing_rows", share=0.5)
    job = _run(call, folder, rows=20)
    keys = _keys(folder, job)
    assert len(set(keys)) == len(keys)
    assert 0 < len(keys) < 20
    assert job["completionStats"] == {"successfulCount": "20"}


def test_adds_rows_that_nobody_asked_for(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("foreign_rows", count=2)
    keys = _keys(folder, _run(call, folder, rows=3))
    assert sorted(keys) == ["k0", "k1", "k2", "nobody-0", "nobody-1"]


def test_keeps_the_order_of_the_input(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("input_order")
    assert _keys(folder, _run(call, folder)) == [f"k{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("json", '{"code": 8, "message": "Full."}'),
        ("object", {"code": 8, "message": "Full."}),
        ("text", "Full."),
        (
            None,
            "RESOURCE_EXHAUSTED error occurred: "
            '{"error": {"code": 429, "message": "Full.", "status": "RESOURCE_EXHAUSTED"}}',
        ),
    ],
)
def test_tells_the_status_of_a_row_in_many_forms(
    vertex: LocalVertex, call: VertexCaller, folder: Folder, form: str | None, status: object
) -> None:
    vertex.faults.plan("all_rows_failed", message="Full.")
    if form:
        vertex.faults.plan("status_form", form=form)
    job = _run(call, folder, rows=1)
    (row,) = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    assert (row["status"], row["response"]) == (status, {})
    assert job["partialFailures"] == [{"code": 8, "message": "Full."}]


def test_gives_failed_rows_a_response(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("all_rows_failed")
    vertex.faults.plan("response_of_failed_rows")
    (row,) = folder.predictions(_run(call, folder, rows=1)["outputInfo"]["gcsOutputDirectory"])
    assert row["status"]
    assert row["response"]


def test_names_at_most_twenty_failures(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("all_rows_failed")
    assert len(_run(call, folder, rows=30)["partialFailures"]) == 20


def test_goes_through_rare_states(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("rare_states")
    vertex.faults.plan("slow", queue_seconds=0.3, run_seconds=0.3)
    job = call.create(job_body(folder.write(prompts(1)), folder.uri("out")))
    states = [job["state"]]
    while states[-1] != "JOB_STATE_SUCCEEDED":
        state = call.get(short(job))["state"]
        if state != states[-1]:
            states.append(state)
        time.sleep(0.01)
    shown = [state.removeprefix("JOB_STATE_") for state in states]
    assert shown == ["PENDING", "QUEUED", "PENDING", "RUNNING", "UPDATING", "RUNNING", "SUCCEEDED"]
