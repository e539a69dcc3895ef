"""Faults of single calls: connections, answers, lists."""

from __future__ import annotations

import threading
import time

import pytest
import requests

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.http import VertexCaller, job_body, short

BODY = job_body("gs://books/in.jsonl", "gs://books/out")


@pytest.mark.parametrize(("name", "created"), [("drop_before", 0), ("drop_after", 1)])
def test_drops_the_connection(vertex: LocalVertex, call: VertexCaller, name: str, created: int) -> None:
    vertex.faults.plan(name, on="create")
    with pytest.raises(requests.ConnectionError):
        call.create(BODY)
    assert len(call.names()) == created
    assert vertex.requests.calls("create")[0]["status"] == 0
    call.create(BODY)


@pytest.mark.parametrize(
    ("status", "code"),
    [("RESOURCE_EXHAUSTED", 429), ("INTERNAL", 500), ("UNAVAILABLE", 503), ("NOT_FOUND", 404)],
)
@pytest.mark.parametrize(("name", "created"), [("error", 0), ("error_after", 1)])
def test_answers_errors(
    vertex: LocalVertex, call: VertexCaller, name: str, created: int, status: str, code: int
) -> None:
    vertex.faults.plan(name, on="create", status=status, message="Not now.")
    response = call.send("POST", call.jobs, json=BODY)
    assert (response.status_code, response.json()["error"]) == (
        code,
        {"code": code, "status": status, "message": "Not now."},
    )
    assert len(call.names()) == created


def test_asks_to_come_back_later(vertex: LocalVertex, call: VertexCaller) -> None:
    vertex.faults.plan("error", on="list", status="RESOURCE_EXHAUSTED", retry_after=7)
    assert call.send("GET", call.jobs).headers["Retry-After"] == "7"


@pytest.mark.parametrize(("name", "start"), [("empty_answer", ""), ("html_answer", "<!DOCTYPE html>")])
@pytest.mark.parametrize("on", ["create", "get", "list"])
def test_answers_200_with_something_else(
    vertex: LocalVertex, call: VertexCaller, name: str, start: str, on: str
) -> None:
    job = call.create(BODY)
    vertex.faults.plan(name, on=on)
    verb, url = {
        "create": ("POST", call.jobs),
        "get": ("GET", f"{call.jobs}/{short(job)}"),
        "list": ("GET", call.jobs),
    }[on]
    response = call.send(verb, url, **({"json": BODY} if on == "create" else {}))
    assert (response.status_code, response.text[:15]) == (200, start)
    assert len(call.names()) == 1 + (on == "create")


@pytest.mark.parametrize("name", ["delay", "delay_after"])
def test_delays_without_holding_up_others(vertex: LocalVertex, call: VertexCaller, name: str) -> None:
    vertex.faults.plan(name, on="create", seconds=1.0)
    seen: list[int] = []
    slow = threading.Thread(target=lambda: seen.append(len(call.create(BODY))))
    began = time.monotonic()
    slow.start()
    time.sleep(0.2)
    other = VertexCaller(call.url)
    jobs = len(other.names())
    assert slow.is_alive()
    slow.join()
    assert time.monotonic() - began >= 1.0
    # Before acting nothing is there yet; after acting the job is, though nobody has been told.
    assert jobs == (1 if name == "delay_after" else 0)
    assert seen


def test_shows_a_stale_list(vertex: LocalVertex, call: VertexCaller) -> None:
    vertex.faults.plan("stale_list", seconds=0.6)
    job = call.create(BODY)
    assert call.names() == []
    assert call.get(short(job))["name"] == job["name"]
    time.sleep(0.65)
    assert call.names() == ["nightly"]


def test_lists_nothing_without_a_page_size(vertex: LocalVertex, call: VertexCaller) -> None:
    vertex.faults.plan("empty_list_without_page_size")
    call.create(BODY)
    assert call.list() == {}
    assert call.names(pageSize=10) == ["nightly"]
