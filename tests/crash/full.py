"""The full level: a real scheduler with its workers and a real triggerer, killed while a DAG run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from airflow_gemini_batch.demo.workspace import Workspace
from airflow_gemini_batch.testing.stack import LocalStack
from tests.crash.airflow_parts import AirflowParts
from tests.crash.board import Board
from tests.crash.evidence import Outcome, jobs_of, lost_rows
from tests.crash.full_points import DAG_ID, ONE_TRIGGERER, TASKS, TRIGGERERS, WORKERS, FullPoint, Sight
from tests.crash.rounds import BUCKET
from tests.crash.services import Deployment, managed, small
from tests.support.requests_data import request, upload

DAGS = Path(__file__).parent / "dags"

_ROWS = 5
_CRASHES_WITHIN = 300.0
_ENDS_WITHIN = 900.0
_LOOK_EVERY = 0.1


def run_full(
    points: Sequence[FullPoint], rounds: int, folder: Path, board: Board, as_managed: bool = False
) -> None:
    """Play the rounds one after the other on one Airflow."""
    workspace = Workspace(folder / "full")
    workspace.create()
    with (
        (managed if as_managed else small)(workspace) as deployment,
        workspace.stack(queue_seconds=2.0, run_seconds=18.0) as stack,
    ):
        points = [point for point in points if _possible(point, deployment)]
        for point in points:
            board.expect(point.name, rounds)
        stack.storage.create_bucket(BUCKET)
        with AirflowParts(workspace, stack, DAGS, deployment) as airflow:
            for number in range(rounds):
                for point in points:
                    started = time.monotonic()
                    outcome = FullRound(point, f"{point.name}-{number}", stack, airflow).play()
                    board.record(point.name, outcome, time.monotonic() - started, workspace.log)


def _possible(point: FullPoint, deployment: Deployment) -> bool:
    return ONE_TRIGGERER not in point.kills or len(deployment.triggerers) > 1


class FullRound:
    """One DAG run with a crash."""

    def __init__(self, point: FullPoint, run_id: str, stack: LocalStack, airflow: AirflowParts) -> None:
        self._point = point
        self._run_id = run_id
        self._stack = stack
        self._airflow = airflow
        self._prompts = {task: {f"{run_id} {task} {row}" for row in range(_ROWS)} for task in TASKS}
        self._sources = {
            task: upload(stack, BUCKET, f"{run_id}/{task}.jsonl", [request(text) for text in sorted(prompts)])
            for task, prompts in self._prompts.items()
        }

    def play(self) -> Outcome:
        """Start the run, kill what the point names once it is there, start it again, and wait for the end."""
        self._stack.vertex.requests.clear()
        self._stack.vertex.faults.clear()
        for name, parameters in self._point.faults:
            self._stack.vertex.faults.plan(name, **parameters)
        self._airflow.trigger(DAG_ID, self._run_id, {"sources": self._sources})
        struck = any(self._point.seen(sight) for sight in self._sights(_CRASHES_WITHIN)) and self._strike()
        for _ in self._sights(_ENDS_WITHIN):
            pass
        if ONE_TRIGGERER in self._point.kills:
            self._airflow.start(*self._airflow.deployment.triggerers[:1])
        return self._outcome(struck)

    def _sights(self, seconds: float) -> Iterator[Sight]:
        """Look at the run again and again until it has ended or the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._airflow.run_state(self._run_id) not in (
            "success",
            "failed",
        ):
            states: dict[str, str | None] = dict.fromkeys(TASKS)
            states.update({row.task_id: row.state for row in self._airflow.tasks(self._run_id)})
            yield Sight(self._stack.vertex.requests.counts, self._count_jobs, states)
            time.sleep(_LOOK_EVERY)

    def _strike(self) -> bool:
        """Kill, start again what is to be started, and return whether there was something of each kind to kill."""
        time.sleep(self._point.linger)
        hit = True
        triggerers = self._airflow.deployment.triggerers
        killed: list[str] = []
        for victim in self._point.kills:
            if victim == WORKERS:
                hit = self._airflow.kill_workers(self._run_id) > 0
            elif victim == ONE_TRIGGERER:
                self._airflow.kill(*triggerers[:1])
            else:
                killed += (parts := triggerers if victim == TRIGGERERS else (victim,))
                self._airflow.kill(*parts)
        self._airflow.start(*killed)
        return hit

    def _jobs(self) -> dict[str, list[dict[str, Any]]]:
        return {task: jobs_of(self._stack.vertex, source) for task, source in self._sources.items()}

    def _count_jobs(self) -> int:
        return sum(map(len, self._jobs().values()))

    def _outcome(self, struck: bool) -> Outcome:
        state = self._airflow.run_state(self._run_id)
        results = self._airflow.results(self._run_id)
        tasks = ", ".join(
            f"{row.task_id} {row.state} (try {row.try_number})" for row in self._airflow.tasks(self._run_id)
        )
        return Outcome(
            duplicate_jobs=sum(max(0, len(jobs) - 1) for jobs in self._jobs().values()),
            lost_rows=sum(lost_rows(self._stack, self._prompts[task], results.get(task)) for task in TASKS),
            stuck=state not in ("success", "failed"),
            missed=not struck,
            trouble="" if state == "success" else f"the DAG run is {state}: {tasks}",
        )
