"""Where the stories of the fault tables are played: one submission, the operator, and the server."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NoReturn
from unittest import mock

import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.jobs.submission import JobRequest
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.operators.fault_scenarios import (
    AFTER_CREATE,
    BEFORE_CREATE,
    DEFERRED,
    ROWS,
    Fails,
    Fault,
    Killed,
    Scenario,
    Try,
)
from tests.support.requests_data import BAD_REQUEST, request, upload
from tests.support.tables import fill, make_dataset
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat

JOBS = f"projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"


def describe(source: str | Sequence[str], **arguments: Any) -> SubmitGeminiBatchOperator:
    """Make a task that does not wait for long between two questions."""
    settings = {"task_id": "describe", "model": "gemini-3.8-flash", "poll_interval": 0.03, **arguments}
    return SubmitGeminiBatchOperator(requests=source, **settings)


class WorkerDied(BaseException):
    """No error of the task, so nothing in it may catch this."""


class Watched(SubmitGeminiBatchOperator):
    """The operator, in which something can happen at the moments that a story names."""

    on_waiting: Callable[[str], None]
    on_ended: Callable[[], None]

    def defer(self, *, method_name: str, **arguments: Any) -> NoReturn:
        self.on_waiting(arguments["trigger"].job_name)
        resume = getattr(self, method_name)

        def resume_later(*args: Any, **kwargs: Any) -> Any:
            self.on_ended()
            return resume(*args, **kwargs)

        object.__setattr__(self, method_name, resume_later)
        super().defer(method_name=method_name, **arguments)


class Stage:
    """Where a story is played: one submission, the server, and what the server says of the two."""

    def __init__(self, vertex: LocalVertex, source: str) -> None:
        self.ti = TaskInstance(run_id=f"faults-{uuid.uuid4().hex}")
        self._vertex = vertex
        self._source = source
        self._planned: list[tuple[Fault, set[str]]] = []
        self._unstruck: list[str] = []

    def run(self, one: Try, **arguments: Any) -> dict[str, Any]:
        """Run one try; the service behaves again afterwards.

        :param arguments: of the operator, where the try does not say otherwise.
        """
        self._planned.clear()
        self._vertex.requests.clear()
        self._plan(one.faults)
        settings = {
            "task_id": "describe",
            "model": "gemini-3.8-flash",
            "poll_interval": 0.03,
            # Stories with requests that are refused begin with a job.
            "preflight": False,
            **arguments,
            **one.settings,
        }
        task = Watched(requests=self._source, **settings)

        deferrals = count()

        def on_waiting(job_name: str) -> None:
            if next(deferrals) != one.deferral:
                task.on_ended = lambda: None
                return
            task.on_ended = on_ended
            if one.cancelled_after is not None:
                time.sleep(one.cancelled_after)
                self._ask("POST", f"{job_name}:cancel")
            if isinstance(one.end, Killed) and one.end.at == DEFERRED:
                raise WorkerDied
            self._plan(one.waiting)

        def on_ended() -> None:
            time.sleep(one.resumed_after)
            self._plan(one.ended)

        def create(client: BatchJobClient, request: JobRequest) -> BatchJob:
            point = one.end.at if isinstance(one.end, Killed) and " rerun " in request.display_name else ""
            if point == BEFORE_CREATE:
                raise WorkerDied
            job = really_create(client, request)
            if point == AFTER_CREATE:
                raise WorkerDied
            return job

        task.on_waiting = on_waiting
        really_create = BatchJobClient.create
        try:
            with mock.patch.object(BatchJobClient, "create", create):
                manifest: dict[str, Any] = run_task(task, self.ti)
            return manifest
        finally:
            self.ti.try_number += 1
            self._unstruck = self._still_planned()
            self._vertex.faults.clear()

    def check_calls(self, creates: int = 1) -> None:
        """Check that a try sends so many create calls at most, one for each round.

        Its faults have to have met somebody: else the story tells nothing.
        """
        assert self._unstruck == []
        assert self._vertex.requests.counts.get("create", 0) <= creates

    def jobs(self, states: str) -> list[dict[str, Any]]:
        """Return the jobs of the submission, oldest first, once they are in these states or time is up."""
        deadline = time.monotonic() + 3
        while True:
            query = {"filter": f'labels.airflow_run="{self.ti.run_id}"', "pageSize": 100}
            found = self._ask("GET", JOBS, params=query).get("batchPredictionJobs", ())
            jobs = sorted(found, key=lambda job: job["createTime"])
            if states_of(jobs) == states or time.monotonic() > deadline:
                return jobs
            time.sleep(0.01)

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        url, headers = f"{self._vertex.url}/v1/{path}", {"Authorization": "Bearer local"}
        answer = requests.request(method, url, headers=headers, timeout=10, **arguments)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content

    def _plan(self, faults: Sequence[Fault]) -> None:
        for one in faults:
            plans = [self._vertex.faults.plan(one.name, on=on, **one.arguments) for on in one.on or (None,)]
            self._planned.append((one, {plan.id for plan in plans}))

    def _still_planned(self) -> list[str]:
        """Name the faults that have struck nothing; those planned for ever leave no trace."""
        left = {plan["id"]: plan["times"] for plan in self._vertex.faults.planned()}
        return [
            one.name
            for one, ids in self._planned
            if all(id_ in left and left[id_] == one.arguments.get("times", 1) is not None for id_ in ids)
        ]


def states_of(jobs: Sequence[dict[str, Any]]) -> str:
    return " ".join(job["state"].removeprefix("JOB_STATE_") for job in jobs)


def make_source(stack: LocalStack, scenario: Scenario, bucket: str) -> str:
    """Write the requests of a story."""
    lines = [request("the same" if scenario.alike else f"prompt {n}") for n in range(ROWS)]
    lines[: scenario.bad] = [BAD_REQUEST] * scenario.bad
    if scenario.table:
        rows = [{"id": f"row {n}", **line} for n, line in enumerate(lines)]
        return fill(stack, f"{make_dataset(stack)}.requests", {"id": "STRING", "request": "JSON"}, rows)
    return upload(stack, bucket, "in.jsonl", lines)


def counted(message: str) -> dict[str, int]:
    """Return the outcomes that a message tells."""
    told = re.search(r"^Rows +(.+(?:\n {12}.+)*)", message, re.MULTILINE)
    rows = re.findall(r"(\d+) (\w+)", told[1]) if told else []
    return {outcome: int(count) for count, outcome in rows if outcome in set(Outcome)}


def check_failure(raised: BaseException, end: Fails, jobs: Sequence[dict[str, Any]]) -> None:
    error = raised.__context__ if isinstance(raised, AirflowFailException) else raised
    message = str(raised)
    assert isinstance(error, end.error), repr(raised)
    assert isinstance(raised, AirflowFailException) == end.hopeless == (not error.retryable)
    assert [word for word in end.words if word not in flat(message)] == [], message
    assert [word for word in end.never if word in flat(message)] == [], message
    counts = counted(message)
    if counts:
        assert sum(counts.values()) == ROWS, message
        assert f"batch-predictions/{jobs[-1]['name'].rpartition('/')[2]}" in message
    if end.counts is not None:
        assert counts == end.counts
