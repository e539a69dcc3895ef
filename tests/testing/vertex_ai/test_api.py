"""Paths, pages, projects and tokens: everything about a call that is not the body of a create."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.http import LOCATION, NUMBER, PROJECT, VertexCaller, job_body, short

BODY = job_body("gs://books/in.jsonl", "gs://books/out")


def _error(call: VertexCaller, verb: str, url: str, **arguments: object) -> tuple[int, str]:
    response = call.send(verb, url, **arguments)
    error = response.json()["error"]
    assert error["code"] == response.status_code
    assert error["message"]
    return error["code"], error["status"]


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/projects/p/locations/us/batchPredictionJobs", "/v1/models/x"]
)
def test_answers_unknown_paths_with_the_error_envelope(call: VertexCaller, path: str) -> None:
    assert _error(call, "GET", call.url + path) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("verb", "suffix"), [("GET", "/1"), ("POST", "/1:cancel"), ("DELETE", "/1")])
def test_does_not_know_a_job_that_does_not_exist(call: VertexCaller, verb: str, suffix: str) -> None:
    assert _error(call, verb, call.jobs + suffix) == (404, "NOT_FOUND")


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_asks_for_a_token(call: VertexCaller, verb: str) -> None:
    assert _error(call, verb, call.jobs, headers={"Authorization": None}) == (401, "UNAUTHENTICATED")
    assert _error(call, verb, call.jobs, headers={"Authorization": "Basic x"}) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_has_one_project(call: VertexCaller, verb: str) -> None:
    other = VertexCaller(call.url, project="not-mine")
    assert _error(other, verb, other.jobs) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("location", ["mars-east1", "us-central", "US-CENTRAL1", "-"])
def test_does_not_know_other_locations(call: VertexCaller, location: str) -> None:
    other = VertexCaller(call.url, location=location)
    assert _error(other, "GET", other.jobs) == (404, "NOT_FOUND")


def test_takes_the_project_by_id_and_by_number_in_both_versions(call: VertexCaller) -> None:
    job = call.create(BODY)
    for version in ("v1", "v1beta1"):
        for project in (PROJECT, NUMBER):
            url = f"{call.url}/{version}/projects/{project}/locations/{LOCATION}/batchPredictionJobs/{short(job)}"
            assert call.send("GET", url).json()["name"] == job["name"]


def test_keeps_locations_apart(call: VertexCaller) -> None:
    job = call.create(BODY)
    other = VertexCaller(call.url, location="europe-west4")
    assert other.list() == {}
    assert _error(other, "GET", f"{other.jobs}/{short(job)}") == (404, "NOT_FOUND")


def test_lists_page_by_page_newest_first(call: VertexCaller) -> None:
    for number in range(5):
        call.create({**BODY, "displayName": f"job-{number}"})

    first = call.list(pageSize=2)
    second = call.list(pageSize=2, pageToken=first["nextPageToken"])
    third = call.list(pageSize=2, pageToken=second["nextPageToken"])

    pages = [[job["displayName"] for job in page["batchPredictionJobs"]] for page in (first, second, third)]
    assert pages == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    assert "nextPageToken" not in third
    assert call.names(orderBy="create_time", pageSize=2) == ["job-0", "job-1"]
    assert call.names(orderBy="create_time desc", pageSize=1) == ["job-4"]


def test_pages_stay_put_while_jobs_are_added(call: VertexCaller) -> None:
    for number in range(4):
        call.create({**BODY, "displayName": f"job-{number}"})
    first = call.list(pageSize=2)
    call.create({**BODY, "displayName": "late"})
    assert call.names(pageSize=9, pageToken=first["nextPageToken"]) == ["job-1", "job-0"]


def test_filters_before_it_pages(call: VertexCaller) -> None:
    for number in range(6):
        call.create(
            {**BODY, "labels": {"parity": "odd" if number % 2 else "even"}, "displayName": f"job-{number}"}
        )
    page = call.list(filter="labels.parity=odd", pageSize=2)
    assert [job["displayName"] for job in page["batchPredictionJobs"]] == ["job-5", "job-3"]
    assert call.names(filter="labels.parity=odd", pageToken=page["nextPageToken"]) == ["job-1"]
    assert call.list(filter="labels.parity=none") == {}


@pytest.mark.parametrize(
    "parameters",
    [
        {"filter": "owner=me"},
        {"pageToken": "x"},
        {"pageSize": "many"},
        {"pageSize": -1},
        {"orderBy": "display_name"},
        {"limit": 5},
    ],
    ids=str,
)
def test_refuses_lists_that_make_no_sense(call: VertexCaller, parameters: dict[str, object]) -> None:
    assert _error(call, "GET", call.jobs, params=parameters) == (400, "INVALID_ARGUMENT")


def test_refuses_a_page_token_of_another_query(call: VertexCaller) -> None:
    call.create(BODY)
    call.create(BODY)
    token = call.list(pageSize=1)["nextPageToken"]
    parameters = {"pageToken": token, "filter": "labels.a=b"}
    assert _error(call, "GET", call.jobs, params=parameters) == (400, "INVALID_ARGUMENT")


def test_reads_the_mask_and_leaves_it_alone(call: VertexCaller) -> None:
    call.create(BODY)
    assert "model" in call.list(readMask="name", alt="json")["batchPredictionJobs"][0]


def test_counts_what_is_asked(call: VertexCaller, vertex: LocalVertex) -> None:
    job = call.create(BODY)
    call.send("POST", call.jobs, json={})
    call.get(short(job))
    call.list()

    assert vertex.requests.counts == {"create": 2, "get": 1, "list": 1}
    log = call.control("GET", "requests", params={"method": "create"})
    assert log["counts"] == vertex.requests.counts
    assert [(entry["method"], entry["status"]) for entry in log["calls"]] == [
        ("create", 200),
        ("create", 400),
    ]

    call.control("DELETE", "requests")
    assert call.control("GET", "requests") == {"counts": {}, "calls": []}


def test_seeds_jobs_without_data(call: VertexCaller) -> None:
    wanted = {
        "count": 250,
        "labels": {"team": "search"},
        "queue_seconds": 0,
        "run_seconds": 0.05,
        "spread_seconds": 0.2,
    }
    names = call.control("POST", "jobs:seed", json=wanted)["names"]
    assert len(set(names)) == 250

    first, last = (call.wait(call.get(name.rpartition("/")[2])) for name in (names[0], names[-1]))
    assert (first["state"], last["state"]) == ("JOB_STATE_SUCCEEDED",) * 2
    apart = datetime.fromisoformat(last["endTime"]) - datetime.fromisoformat(first["endTime"])
    assert apart.total_seconds() == pytest.approx(0.2, abs=0.1)
    page = call.list(pageSize=1000, filter="labels.team=search AND state=JOB_STATE_SUCCEEDED")
    assert len(page["batchPredictionJobs"]) == 250


@pytest.mark.parametrize(
    "wanted", [{}, {"count": 0}, {"count": 1, "colour": "red"}, {"count": 1, "model": "x"}]
)
def test_refuses_to_seed_nonsense(call: VertexCaller, wanted: dict[str, object]) -> None:
    assert _error(call, "POST", f"{call.url}/local/v1/jobs:seed", json=wanted) == (400, "INVALID_ARGUMENT")


def test_answers_its_own_failures_with_the_error_envelope(start_vertex: Callable[..., LocalVertex]) -> None:
    nowhere = VertexCaller(start_vertex(bigquery_url="http://127.0.0.1:9").url)
    body = job_body("gs://books/in.jsonl", "bq://demo-project.shop.out")
    assert _error(nowhere, "POST", nowhere.jobs, json=body) == (500, "INTERNAL")
