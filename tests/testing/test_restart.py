"""A stack that is stopped and started again on its folder: what is there again, and what goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import NotFound

from airflow_gemini_batch import iter_responses
from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.testing.leading import lead_clients
from airflow_gemini_batch.testing.stack import LocalStack
from tests.operators.steps import BOOKS, book, built, creates, landed, submitted
from tests.support.jobs import job_request, make_client, wait_for
from tests.support.requests_data import lines, storage_client, upload
from tests.support.tables import bigquery_client, fill, make_dataset

pytestmark = pytest.mark.stack

NUMBERS = range(20)
Started = Callable[..., Any]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Give a function that runs a stack on one folder, and leads the clients to it."""

    @contextmanager
    def start(**arguments: Any) -> Iterator[LocalStack]:
        settings = {"keep": True, "queue_seconds": 0.0, "run_seconds": 0.1, "cancel_seconds": 0.1}
        with monkeypatch.context() as patch, LocalStack(tmp_path, **{**settings, **arguments}) as stack:
            environment = stack.environment()
            for name, value in environment.items():
                patch.setenv(name, value)
            lead_clients(environment, patch.setattr)
            yield stack

    return start


def build(stack: LocalStack, place: str) -> tuple[str, list[str]]:
    """Build requests from a table or a file, and return the dataset or bucket and where they are."""
    if place == "tables":
        where = make_dataset(stack)
        return where, built(fill(stack, f"{where}.books", BOOKS, map(book, NUMBERS)), requests=where)
    stack.storage.create_bucket("kept")
    source = upload(stack, "kept", "books.jsonl", map(book, NUMBERS))
    return "gs://kept", built(source, requests="gs://kept/requests")


def jobs(stack: LocalStack) -> list[BatchJob]:
    return list(make_client(stack.vertex).list())


@pytest.mark.parametrize("place", ["tables", "files"])
def test_run_of_the_same_task_takes_its_job_and_lands_its_answers(started, place):
    with started() as stack:
        where, requests = build(stack, place)
        manifests = submitted(requests)
        before = jobs(stack)
        answers = [response.text for response in iter_responses(manifests[0])]
    with started() as stack:
        assert jobs(stack) == before
        assert before[0].successful_count == len(NUMBERS)
        again = submitted(requests)
        assert creates(stack) == 0
        assert [each["rounds"][0]["job_name"] for each in again] == [str(job.name) for job in before]
        assert [response.text for response in iter_responses(again[0])] == answers
        target = f"{where}.described" if place == "tables" else f"{where}/described.jsonl"
        landed(again[0], target)
    with started() as stack:
        rows = (
            list(bigquery_client(stack).list_rows(target.removeprefix("bq://")))
            if place == "tables"
            else lines(stack, target)
        )
        assert sorted(row["isbn"] for row in rows) == sorted(book(number)["isbn"] for number in NUMBERS)


@pytest.mark.parametrize("place", ["tables", "files"])
@pytest.mark.parametrize(
    "stopped_in", [JobState.PENDING, JobState.RUNNING, pytest.param("writing", id="between-two-parts")]
)
def test_job_under_way_goes_on(started, place, stopped_in):
    slow = {"queue_seconds": 600.0} if stopped_in is JobState.PENDING else {"run_seconds": 600.0}
    with started(**({"run_seconds": 0.1} if stopped_in == "writing" else slow)) as stack:
        where, requests = build(stack, place)
        if stopped_in == "writing":
            stack.vertex.faults.plan("slow_export", parts=2, seconds=1.0)
        job = create(stack, requests[0], f"{where}.answers" if place == "tables" else f"{where}/answers")
        wait_for(
            make_client(stack.vertex), job.name, stopped_in if stopped_in != "writing" else JobState.RUNNING
        )
        if stopped_in == "writing":
            written(stack, where)
    with started() as stack:
        ended = wait_for(make_client(stack.vertex), job.name, JobState.SUCCEEDED)
        assert (ended.successful_count, ended.create_time) == (len(NUMBERS), job.create_time)
        assert written(stack, where) == len(NUMBERS)


def create(stack: LocalStack, requests: str, destination: str) -> BatchJob:
    places = {"requests": (parse_address(requests),), "destination": parse_address(destination)}
    return make_client(stack.vertex).create(job_request("kept", **places))


def written(stack: LocalStack, where: str) -> int:
    """Wait for a first part of the output, and return how many rows there are."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if where.startswith("gs://"):
            blobs = list(storage_client(stack).bucket("kept").list_blobs(prefix="answers/"))
            if blobs:
                return sum(blob.download_as_text().count("\n") for blob in blobs)
        else:
            try:
                found: int = (
                    bigquery_client(stack).get_table(f"{where.removeprefix('bq://')}.answers").num_rows
                )
            except NotFound:
                found = 0
            if found:
                return found
        time.sleep(0.02)
    raise AssertionError("nothing was written in time")


def test_job_that_is_being_cancelled_ends_cancelled_and_a_deleted_one_stays_deleted(started):
    with started(run_seconds=600.0, cancel_seconds=600.0) as stack:
        dataset, requests = build(stack, "tables")
        client = make_client(stack.vertex)
        job = create(stack, requests[0], f"{dataset}.one")
        wait_for(client, job.name, JobState.RUNNING)
        client.cancel(job.name)
    with started() as stack:
        client = make_client(stack.vertex)
        ended = wait_for(client, job.name, JobState.CANCELLED)
        assert ended.error is not None
        client.delete(job.name)
    with started() as stack:
        assert jobs(stack) == []


def test_nothing_of_tables_and_jobs_stays_unless_it_is_asked_for(started, tmp_path):
    with started(keep=False) as stack:
        _, requests = build(stack, "tables")
        submitted(requests)
    assert not list(tmp_path.rglob("*.duckdb"))
    assert not (tmp_path / "vertex").exists()
    with started() as stack:
        assert jobs(stack) == []
        assert list(bigquery_client(stack).list_datasets()) == []
