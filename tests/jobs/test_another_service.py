"""A second service behind jobs/client.py: what jobs/ does has to work without anything of Vertex AI."""

from __future__ import annotations

import ast
import inspect
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import JobFailedError, JobServiceError
from airflow_gemini_batch.jobs.client import ALL_JOBS, Connection, JobQuery
from airflow_gemini_batch.jobs.identity import TaskRun
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.polling import WaitPolicy
from airflow_gemini_batch.jobs.runner import BatchRun
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobName, JobState
from airflow_gemini_batch.jobs.submission import JobRequest, Submission
from airflow_gemini_batch.outputs.store import DataStore
from tests.support.requests_data import lines, request, storage_client, upload

ROWS = 4


@dataclass(frozen=True)
class OvenName:
    """The name of a job: ``oven/NUMBER``."""

    job_id: str
    parent: str = "oven"

    @property
    def console_url(self) -> str:
        return f"https://oven.example/jobs/{self.job_id}"

    def sibling(self, job_id: str) -> OvenName:
        return OvenName(job_id)

    def __str__(self) -> str:
        return f"{self.parent}/{self.job_id}"


@dataclass
class OvenClient:
    """A service in memory: a job runs until it is read for the second time.

    :param answered: share of its rows that each job answers, in their order; all of them by later jobs.
    :param ends: states in which the jobs end; later jobs succeed.
    :param lost_answers: number of create calls whose answer is lost.
    """

    bucket: Any
    answered: list[float] = field(default_factory=list)
    ends: list[JobState] = field(default_factory=list)
    lost_answers: int = 0
    parent: str = "oven"
    jobs: dict[str, BatchJob] = field(default_factory=dict)

    def create(self, request: JobRequest) -> BatchJob:
        name = OvenName(str(len(self.jobs) + 1))
        job = BatchJob(
            name,
            JobState.RUNNING,
            model=request.model,
            labels=request.labels,
            destination=str(request.destination),
            requests=tuple(map(str, request.requests)),
            output=request.destination,
            create_time=datetime.now(UTC),
        )
        self.jobs[name.job_id] = job
        if self.lost_answers:
            self.lost_answers -= 1
            raise JobServiceError("the line went dead")
        return job

    def get(self, name: JobName) -> BatchJob:
        job = self.jobs[name.job_id]
        if job.state is JobState.RUNNING:
            self.jobs[name.job_id] = self._ended(job)
        return job

    def list(self, query: JobQuery = ALL_JOBS) -> Iterator[BatchJob]:
        return (job for job in reversed(self.jobs.values()) if query.labels.items() <= job.labels.items())

    def cancel(self, name: JobName) -> None:
        self.jobs[name.job_id] = replace(self.jobs[name.job_id], state=JobState.CANCELLED)

    def _ended(self, job: BatchJob) -> BatchJob:
        """Bake the rows."""
        assert isinstance(job.output, GcsAddress)
        rows = [
            json.loads(line)
            for uri in job.requests
            for line in self.bucket.blob(GcsAddress.parse(uri).path).download_as_text().splitlines()
        ]
        share = self.answered.pop(0) if self.answered else 1
        answer = {"candidates": [{"content": {"parts": [{"text": "baked"}]}, "finishReason": "STOP"}]}
        baked = [{**row, "response": answer, "status": ""} for row in rows[: int(len(rows) * share)]]
        folder = job.output.child(f"prediction-{job.name.job_id}")
        text = "".join(f"{json.dumps(row)}\n" for row in baked)
        self.bucket.blob(folder.child("predictions.jsonl").path).upload_from_string(text)
        state = self.ends.pop(0) if self.ends else JobState.SUCCEEDED
        error = JobError(13, "burnt") if state is JobState.FAILED else None
        return replace(job, state=state, output=folder, error=error)


@dataclass
class OvenConnection:
    client: OvenClient
    store: DataStore

    def job_name(self, text: str) -> OvenName:
        return OvenName(text.removeprefix("oven/"))

    def get_conn(self, name: JobName | None = None) -> OvenClient:
        return self.client


@pytest.fixture
def oven(gemini_batch_stack: Any, bucket: str) -> OvenConnection:
    upload(gemini_batch_stack, bucket, "in.jsonl", [request(f"prompt {n}") for n in range(ROWS)])
    storage = storage_client(gemini_batch_stack)
    return OvenConnection(OvenClient(storage.bucket(bucket)), DataStore(lambda: storage, lambda: None))  # type: ignore[arg-type,return-value]


def run(oven: Connection, bucket: str, *, first_try: bool = True) -> dict[str, Any]:
    """Run one try to its end."""
    batch = BatchRun(
        Submission.checked(
            model="gemini-2.5-flash",
            requests=f"gs://{bucket}/in.jsonl",
            destination=None,
            name="nightly.describe",
            labels=None,
            model_parameters=None,
            follow_ups=True,
        ),
        TaskRun("nightly", "manual", "describe"),
        first_try=first_try,
        hook=oven,
        policy=WaitPolicy(),
        max_row_retries=1,
        max_failed_fraction=0,
        cancel_on_timeout=True,
        check=lambda _: None,
        prices=PriceTable.load,
        log=logging.getLogger(__name__),
        patience=Patience(sleep=lambda _: None),
    )
    submitted = batch.submit()
    while True:
        job = batch.wait(submitted.job)
        if (follow_up := batch.follow_up(job)) is None:
            return batch.finish(job).manifest.to_json()
        submitted = follow_up


def test_job_runs_to_its_manifest_and_is_created_once(oven, gemini_batch_stack, bucket):
    manifest = run(oven, bucket)
    assert manifest["counts"]["ok"] == ROWS
    assert manifest["console_url"] == "https://oven.example/jobs/1"
    assert [one["job_name"] for one in manifest["rounds"]] == ["oven/1"]
    assert len(lines(gemini_batch_stack, f"{manifest['outputs'][0]}/predictions.jsonl")) == ROWS
    assert run(oven, bucket, first_try=False) == manifest
    assert len(oven.client.jobs) == 1


def test_rows_without_an_answer_go_into_a_follow_up(oven, bucket):
    oven.client.answered = [0.5]
    manifest = run(oven, bucket)
    assert manifest["counts"]["ok"] == ROWS
    assert [one["counts"]["ok"] for one in manifest["rounds"]] == [2, 2]


def test_create_call_whose_answer_is_lost_is_not_sent_twice(oven, bucket):
    oven.client.lost_answers = 1
    assert run(oven, bucket)["counts"]["ok"] == ROWS
    assert len(oven.client.jobs) == 1


def test_failure_names_the_job_its_error_and_its_page(oven, bucket):
    oven.client.ends = [JobState.FAILED]
    with pytest.raises(JobFailedError) as failed:
        run(oven, bucket)
    for words in ("The batch job failed.", "[code 13] burnt", "oven/1", "https://oven.example/jobs/1"):
        assert words in str(failed.value)
    assert run(oven, bucket, first_try=False)["rounds"][0]["job_name"] == "oven/2"


def test_nothing_of_vertex_ai_is_imported_here():
    modules = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(run))))
        if isinstance(node, ast.ImportFrom)
    }
    assert [name for name in modules if name and "vertex" in name] == []
