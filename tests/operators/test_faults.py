"""Every fault of the service from end to end: one table of stories, each with the end that it has to come to."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.local.stack import LOCATION, PROJECT, LocalStack
from airflow_gemini_batch.local.vertex import LocalVertex
from tests.operators.fault_stories import ROWS, Answers, Fails, Fault, Killed, Story, Try
from tests.operators.fault_table import STORIES
from tests.requests_data import BAD_REQUEST, request, upload
from tests.tables import fill, make_dataset
from tests.tasks import TaskInstance, run_task

JOBS = f"projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"
# Shorter than the delays of the table; only where these are told, since a busy machine delays as well.
READ_TIMEOUT = 0.4
LOOK_AGAIN_AFTER = (0.05, 0.1, 0.5)
PATIENCE = 0.4


@pytest.fixture(scope="module")
def own_vertex(local_stack: LocalStack) -> Iterator[LocalVertex]:
    """A server of its own: faster than the shared one, and a fault that is left over harms no other test."""
    with LocalVertex(
        storage_url=local_stack.storage.url,
        bigquery_url=local_stack.bigquery.url,
        project=PROJECT,
        queue_seconds=0.04,
        run_seconds=0.06,
        cancel_seconds=0.4,
    ) as vertex:
        yield vertex


@pytest.fixture
def vertex(own_vertex, gemini_batch_stack, monkeypatch) -> Iterator[LocalVertex]:
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", own_vertex.url)
    yield own_vertex
    own_vertex.faults.clear()


@pytest.fixture(params=STORIES, ids=lambda story: story.name)
def story(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Tell a story in which nobody waits for minutes."""
    if request.param.delays:
        monkeypatch.setattr("airflow_gemini_batch.vertex.wire.READ_TIMEOUT", READ_TIMEOUT)
    monkeypatch.setattr("airflow_gemini_batch.vertex.submit._LOOK_AGAIN_AFTER", LOOK_AGAIN_AFTER)
    monkeypatch.setattr("airflow_gemini_batch.core.polling.REFUSAL_PATIENCE", PATIENCE)
    monkeypatch.setattr(
        "airflow_gemini_batch.operators.run.FINISHING_PATIENCE", timedelta(seconds=2 * PATIENCE)
    )
    return request.param


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

    def run(self, one: Try) -> dict[str, Any]:
        """Run one try; the service behaves again afterwards."""
        self._planned.clear()
        self._vertex.requests.clear()
        self._plan(one.faults)
        settings = {"task_id": "describe", "model": "gemini-2.5-flash", "poll_interval": 0.03, **one.settings}
        task = Watched(source=self._source, **settings)

        def on_waiting(job_name: str) -> None:
            if one.cancelled_after is not None:
                time.sleep(one.cancelled_after)
                self._ask("POST", f"{job_name}:cancel")
            if isinstance(one.end, Killed):
                raise WorkerDied
            self._plan(one.waiting)

        def on_ended() -> None:
            time.sleep(one.resumed_after)
            self._plan(one.ended)

        task.on_waiting, task.on_ended = on_waiting, on_ended
        try:
            manifest: dict[str, Any] = run_task(task, self.ti)
            return manifest
        finally:
            self.ti.try_number += 1
            self._unstruck = self._still_planned()
            self._vertex.faults.clear()

    def check_calls(self) -> None:
        """Check that a try creates once, and that its faults have met somebody: else the story tells nothing."""
        assert self._unstruck == []
        assert self._vertex.requests.counts.get("create", 0) <= 1, "a try sends one create call at most"

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


def make_source(stack: LocalStack, story: Story, bucket: str) -> str:
    """Write the requests of a story."""
    lines = [request("the same" if story.alike else f"prompt {n}") for n in range(ROWS)]
    lines[: story.bad] = [BAD_REQUEST] * story.bad
    if story.table:
        rows = [{"id": f"row {n}", **line} for n, line in enumerate(lines)]
        return fill(stack, f"{make_dataset(stack)}.requests", {"id": "STRING", "request": "JSON"}, rows)
    return upload(stack, bucket, "in.jsonl", lines)


def counted(message: str) -> dict[str, int]:
    """Return the outcomes that a message tells."""
    told = re.search(r"^Of its \d+ rows: (.+)\.$", message, re.MULTILINE)
    return {outcome: int(count) for count, outcome in re.findall(r"(\d+) (\w+)", told[1])} if told else {}


def check_failure(raised: BaseException, end: Fails, jobs: Sequence[dict[str, Any]]) -> None:
    error = raised.__cause__ if isinstance(raised, AirflowFailException) else raised
    message = str(raised)
    assert isinstance(error, end.error), repr(raised)
    assert isinstance(raised, AirflowFailException) == end.hopeless == (not error.retryable)
    assert [word for word in end.words if word not in message] == [], message
    assert [word for word in end.never if word in message] == [], message
    counts = counted(message)
    if counts:
        assert sum(counts.values()) == ROWS, message
        assert f"batch-predictions/{jobs[-1]['name'].rpartition('/')[2]}" in message
    if end.counts is not None:
        assert counts == end.counts


def check_manifest(manifest: dict[str, Any], end: Answers, jobs: Sequence[dict[str, Any]]) -> None:
    assert {outcome: count for outcome, count in manifest["counts"].items() if count} == end.counts
    assert sum(manifest["counts"].values()) == ROWS
    (one,) = manifest["rounds"]
    assert {kind: count for kind, count in one["surplus"].items() if count} == end.surplus
    assert one["state"] == f"JOB_STATE_{end.state}"
    assert one["job_name"] in {job["name"] for job in jobs if job["state"] == one["state"]}
    assert manifest["identity"] == jobs[0]["labels"]["gemini_batch_id"]


def test_faults_come_to_a_true_end_and_are_paid_once(gemini_batch_stack, vertex, bucket, story):
    stage = Stage(vertex, make_source(gemini_batch_stack, story, bucket))
    for one in story.tries:
        if isinstance(one.end, Answers):
            manifest = stage.run(one)
        else:
            with pytest.raises((Exception, WorkerDied)) as raised:
                stage.run(one)
        stage.check_calls()
        jobs = stage.jobs(one.jobs)
        assert states_of(jobs) == one.jobs
        assert len({job["labels"]["gemini_batch_id"] for job in jobs}) <= 1
        match one.end:
            case Answers():
                check_manifest(manifest, one.end, jobs)
            case Fails():
                check_failure(raised.value, one.end, jobs)
            case Killed():
                assert isinstance(raised.value, WorkerDied)


def test_table_names_enough_and_no_name_twice():
    names = [story.name for story in STORIES]
    assert len(set(names)) == len(names) >= 30
