"""Planning faults: which calls and jobs they strike, how often, and how to say so over HTTP."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_gemini_batch.testing.vertex_ai import FAULTS, Faults, LocalVertex
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import VertexCaller, job_body, prompts, short

BODY = job_body("gs://books/in.jsonl", "gs://books/out")


def _run(call: VertexCaller, folder: Folder, rows: int = 10, **fields: Any) -> dict[str, Any]:
    return call.run(job_body(folder.write(prompts(rows)), folder.uri("out"), **fields))


def test_strikes_only_jobs_of_that_name(vertex: LocalVertex, call: VertexCaller, folder: Folder) -> None:
    vertex.faults.plan("fail", job="weekly*", times=None)
    assert _run(call, folder, displayName="nightly")["state"] == "JOB_STATE_SUCCEEDED"
    assert _run(call, folder, displayName="weekly-7")["state"] == "JOB_STATE_FAILED"
    vertex.faults.plan("error", on="get", job="weekly-8", times=None)
    assert "state" in call.create({**BODY, "displayName": "nightly"})
    job = call.create({**BODY, "displayName": "weekly-8"})
    assert call.send("GET", f"{call.jobs}/{short(job)}").status_code == 503


def test_strikes_after_some_calls_and_for_a_number_of_times(vertex: LocalVertex, call: VertexCaller) -> None:
    vertex.faults.plan("error", on="list", skip=1, times=2)
    assert [call.send("GET", call.jobs).status_code for _ in range(5)] == [200, 503, 503, 200, 200]


def test_strikes_for_a_time(vertex: LocalVertex, call: VertexCaller) -> None:
    vertex.faults.plan("error", on="list", times=None, for_seconds=0.2)
    assert call.send("GET", call.jobs).status_code == 503
    time.sleep(0.25)
    assert call.send("GET", call.jobs).status_code == 200


def test_is_planned_over_http(call: VertexCaller) -> None:
    planned = call.control(
        "POST", "faults", json={"name": "error", "on": "list", "parameters": {"status": "INTERNAL"}}
    )
    call.control("POST", "faults", json={"name": "pause", "times": None, "job": "weekly*"})
    assert [
        (fault["name"], fault["on"], fault["times"]) for fault in call.control("GET", "faults")["faults"]
    ] == [
        ("error", "list", 1),
        ("pause", "", None),
    ]
    assert call.send("GET", call.jobs).status_code == 500
    assert [fault["name"] for fault in call.control("GET", "faults")["faults"]] == ["pause"]

    again = call.control("POST", "faults", json={"name": "error", "on": "list"})
    assert again["id"] != planned["id"]
    call.control("DELETE", f"faults/{again['id']}")
    assert call.send("GET", call.jobs).status_code == 200
    call.control("DELETE", "faults")
    assert call.control("GET", "faults") == {"faults": []}


def test_describes_itself_over_http(call: VertexCaller) -> None:
    kinds = call.control("GET", "fault-kinds")
    assert kinds.keys() == FAULTS.keys()
    assert kinds["delay"]["parameters"] == {"seconds": 1.0}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"name": "explode"}, "no fault is called 'explode'"),
        ({"name": "delay", "parameters": {"minutes": 1}}, "has no ['minutes']"),
        ({"name": "delay", "parameters": {"seconds": "long"}}, "seconds"),
        ({"name": "error", "parameters": {"status": "OOPS"}}, "OOPS"),
        ({"name": "pause", "on": "create"}, "can't strike 'create', only jobs"),
        ({"name": "stale_list", "on": "get"}, "can't strike 'get'"),
        ({"name": "error", "often": True}, "often"),
        ({}, "name"),
    ],
)
def test_refuses_faults_that_do_not_exist(call: VertexCaller, wanted: dict[str, Any], message: str) -> None:
    response = call.send("POST", f"{call.url}/local/v1/faults", json=wanted)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


def test_plans_nothing_by_itself() -> None:
    faults = Faults()
    assert faults.strike_call("create", "") == []
    assert faults.strike_job("nightly") == ()
