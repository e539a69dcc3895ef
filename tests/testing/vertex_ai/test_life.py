"""How jobs go from PENDING to their end, and what is left of them there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import VertexCaller, job_body, prompt, prompts, short


def _body(folder: Folder, rows: list[Any] | None = None, **fields: Any) -> dict[str, Any]:
    return job_body(folder.write(prompts(10) if rows is None else rows), folder.uri("out"), **fields)


def _error(response: Any) -> tuple[int, str]:
    error = response.json()["error"]
    return error["code"], error["status"]


def test_walks_from_pending_through_running(start_vertex: Callable[..., LocalVertex], folder: Folder) -> None:
    call = VertexCaller(start_vertex(queue_seconds=0.1, run_seconds=0.1).url)
    job = call.create(_body(folder))
    assert (job["state"], "startTime" in job) == ("JOB_STATE_PENDING", False)
    job = call.wait(job, "RUNNING")
    assert "startTime" in job
    assert "endTime" not in job
    assert folder.objects() == []
    job = call.wait(job)
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert len(folder.predictions(job["outputInfo"]["gcsOutputDirectory"])) == 10


def test_shows_the_old_state_for_a_while_after_cancel(
    start_vertex: Callable[..., LocalVertex], folder: Folder
) -> None:
    call = VertexCaller(start_vertex(run_seconds=10, cancel_seconds=0.4).url)
    job = call.wait(call.create(_body(folder)), "RUNNING")

    assert call.cancel(short(job)) == {}
    assert call.get(short(job))["state"] == "JOB_STATE_RUNNING"
    call.wait(job, "CANCELLING", seconds=2)
    assert call.wait(job, "CANCELLED", seconds=2)["error"] == {"code": 1, "message": "CANCELED"}


def test_keeps_finished_rows_of_a_cancelled_job(
    start_vertex: Callable[..., LocalVertex], folder: Folder
) -> None:
    call = VertexCaller(start_vertex(run_seconds=0.6, cancel_seconds=0.02).url)
    job = call.wait(call.create(_body(folder, prompts(60))), "RUNNING")
    time.sleep(0.2)
    call.cancel(short(job))
    job = call.wait(job)

    done = int(job["completionStats"]["successfulCount"])
    assert 0 < done < 60
    assert int(job["completionStats"]["incompleteCount"]) == 60 - done
    assert len(folder.predictions(job["outputInfo"]["gcsOutputDirectory"])) == done


def test_writes_nothing_for_a_job_cancelled_in_the_queue(
    start_vertex: Callable[..., LocalVertex], folder: Folder
) -> None:
    call = VertexCaller(start_vertex(queue_seconds=10, cancel_seconds=0.02).url)
    job = call.create(_body(folder))
    call.cancel(short(job))
    job = call.wait(job)
    assert (job["state"], "startTime" in job, "outputInfo" in job) == ("JOB_STATE_CANCELLED", False, False)


def test_cancels_and_deletes_at_the_right_time_only(call: VertexCaller, folder: Folder) -> None:
    job = call.create(_body(folder))
    url = f"{call.jobs}/{short(job)}"
    assert _error(call.send("DELETE", url)) == (400, "FAILED_PRECONDITION")
    call.wait(job)
    assert _error(call.send("POST", f"{url}:cancel")) == (400, "FAILED_PRECONDITION")

    operation = call.send("DELETE", url).json()
    assert operation["done"] is True
    assert call.send("GET", f"{call.url}/v1/{operation['name']}").json() == operation
    assert _error(call.send("GET", url)) == (404, "NOT_FOUND")
    assert call.list() == {}


def test_reads_several_files_and_wildcards(call: VertexCaller, folder: Folder) -> None:
    for number in range(4):
        folder.write([prompt(f"Part {number}?")], f"parts/{number}.jsonl")
    folder.write([prompt("Deeper?")], "parts/deeper/0.jsonl")
    folder.write([prompt("Other?"), "", "   ", prompt("After blank lines?")], "other.jsonl")
    sources = [folder.uri("parts/*.jsonl"), folder.uri("other.jsonl")]

    job = call.run(job_body(sources, folder.uri("out")))

    rows = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    asked = sorted(row["request"]["contents"][0]["parts"][0]["text"] for row in rows)
    assert asked == ["After blank lines?", "Other?", "Part 0?", "Part 1?", "Part 2?", "Part 3?"]


@pytest.mark.parametrize(
    ("rows", "code", "message"),
    [
        ([prompt("Good"), "{bad"], 3, "in.jsonl: line 2 is not JSON"),
        ([prompt("Good"), "[1]"], 3, "in.jsonl: line 2 is not a JSON object"),
        ([], 3, "The input holds no rows"),
        (prompts(6), 3, "The input has 6 rows, more than the limit of 5"),
        ([{"contents": []}, {"prompt": "x"}], 13, "INTERNAL"),
    ],
)
def test_fails_a_job_whose_file_does_not_fit(
    start_vertex: Callable[..., LocalVertex], folder: Folder, rows: list[Any], code: int, message: str
) -> None:
    call = VertexCaller(start_vertex(max_rows={GENERATE_CONTENT: 5}).url)
    job = call.run(_body(folder, rows))
    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_FAILED", code)
    assert message in job["error"]["message"]
    assert "outputInfo" not in job


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a*.jsonl", {"a1.jsonl", "a[2]?.jsonl"}),
        ("**.jsonl", {"a1.jsonl", "a[2]?.jsonl", "b.jsonl", "deep/a.jsonl"}),
        ("*/a.jsonl", {"deep/a.jsonl"}),
        ("a[2]?*", {"a[2]?.jsonl"}),
    ],
)
def test_knows_wildcards(call: VertexCaller, folder: Folder, pattern: str, found: set[str]) -> None:
    for name in ("a1.jsonl", "a[2]?.jsonl", "b.jsonl", "deep/a.jsonl"):
        folder.write([prompt(name)], f"in/{name}")
    job = call.run(job_body(folder.uri(f"in/{pattern}"), folder.uri("out")))
    rows = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    assert {row["request"]["contents"][0]["parts"][0]["text"] for row in rows} == found


@pytest.mark.parametrize("name", ["missing.jsonl", "missing/*.jsonl"])
def test_fails_a_job_whose_file_does_not_exist(call: VertexCaller, folder: Folder, name: str) -> None:
    job = call.run(job_body(folder.uri(name), folder.uri("out")))
    assert job["error"] == {
        "code": 5,
        "message": f"Failed to import data. Not found: No object matches {folder.uri(name)}",
    }


def test_shuffles_rows_the_same_way_for_the_same_seed(
    start_vertex: Callable[..., LocalVertex], folder: Folder
) -> None:
    def order(seed: int) -> list[str]:
        call = VertexCaller(start_vertex(seed=seed).url)
        job = call.run(_body(folder, prompts(30)))
        rows = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
        return [row["request"]["labels"]["key"] for row in rows]

    first = order(1)
    assert sorted(first) == sorted(f"k{number}" for number in range(30))
    assert first != [f"k{number}" for number in range(30)]
    assert first == order(1)
    assert first != order(2)
