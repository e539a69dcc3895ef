"""One round of the quick level: Airflow's part is played here, around processes that are real and get killed."""

from __future__ import annotations

import json
import multiprocessing
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from airflow_gemini_batch.testing.stack import PROJECT, LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.crash import children
from tests.crash.children import Surroundings, Try
from tests.crash.evidence import Outcome, jobs_of, lost_rows
from tests.crash.points import TRIGGERER, WORKER, CrashPoint
from tests.support.requests_data import request, upload

BUCKET = "crash"

_ROWS = 5
_TRIES = 4
# A run takes seconds; only one that hangs for good takes longer than this, on however busy a machine.
_ENDS_WITHIN = 600.0
_LOOK_EVERY = 0.005

# A fork takes milliseconds, where starting Airflow takes seconds; the server forks before it has any thread.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", "tests.crash.warm"])
_starting = threading.Lock()


class Message(NamedTuple):
    """What a process said, and what came with it."""

    kind: str
    content: Any = None


_NOTHING = Message("nothing")
_SIGNS = (children.DEFERRING, children.FINISHING)


class _RunFailedError(Exception):
    """The task has no tries left, or gave up by itself."""


class _RunStuckError(Exception):
    """The run does not come to its end."""


class _Process:
    """A child process and the pipe through which it speaks."""

    def __init__(self, body: Callable[..., None], *arguments: Any) -> None:
        self.pipe, theirs = _FORKS.Pipe(duplex=False)
        with _starting:
            self._process = _FORKS.Process(target=body, args=(theirs, *arguments), daemon=True)
            self._process.start()
        theirs.close()

    def listen(self, seconds: float) -> Message | None:
        """Return what it says next, ``None`` for nothing so far; raises :class:`EOFError` when it is dead."""
        if not self.pipe.poll(seconds):
            return None
        return Message(*json.loads(self.pipe.recv_bytes()))

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join()


class Round:
    """One DAG run of one task with a crash at a given point.

    :param vertex: a server that nobody else uses, so that all its jobs are this run's.
    """

    def __init__(self, point: CrashPoint, run_id: str, source: str, vertex: LocalVertex, log: Path) -> None:
        self._point = point
        self._run_id = run_id
        self._source = source
        self._vertex = vertex
        self._around = Surroundings(vertex.url, str(log))
        self._deadline = time.monotonic() + _ENDS_WITHIN
        self._alive: dict[str, _Process] = {}
        self._linger = random.Random(run_id).uniform(0, point.linger)
        self.struck = False

    def play(self) -> dict[str, Any]:
        """Return the run's manifest; a try that dies or fails is followed by another one, as Airflow does it."""
        number = 1
        deferral: dict[str, Any] | None = None
        event: Any = None
        while number <= _TRIES:
            said = self._work(number, deferral, event)
            if said.kind == children.RESULT:
                return dict(said.content)
            if said.kind == children.DEFERRED:
                deferral = dict(said.content)
                said = self._wait(deferral)
                if said.kind == children.EVENT:
                    event = said.content
                    continue
            if said.kind == children.FAILED and not said.content["retry"]:
                raise _RunFailedError(said.content["error"])
            number, deferral, event = number + 1, None, None
        raise _RunFailedError(f"none of {_TRIES} tries came to an end")

    def clean_up(self) -> None:
        """Kill what is left."""
        for process in self._alive.values():
            process.kill()

    def _work(self, number: int, deferral: dict[str, Any] | None, event: Any) -> Message:
        """Run a worker; returns what it stored last."""
        hold = "" if self.struck else self._point.hold
        one = Try(self._run_id, number, self._source, deferral, event, hold)
        return self._follow(WORKER, children.work, one)

    def _wait(self, deferral: dict[str, Any]) -> Message:
        """Run a triggerer, and after its death another one with the same arguments; returns what it stored."""
        while True:
            said = self._follow(TRIGGERER, children.watch, deferral["trigger"], deferral["arguments"])
            if said is not _NOTHING:
                return said

    def _follow(self, role: str, body: Callable[..., None], *arguments: Any) -> Message:
        """Start a process and listen until it is dead, killing it when it comes to the crash point."""
        before = Counter(self._vertex.requests.counts)
        process = self._alive[role] = _Process(body, self._around, *arguments)
        stored = _NOTHING
        try:
            while True:
                if said := process.listen(_LOOK_EVERY):
                    stored = stored if said.kind in _SIGNS else said
                    if not self.struck and said.kind == self._point.hold and role != self._point.on:
                        return stored  # it stands still until the other one is killed, and dies with it
                if self._is_at_point(role, said, before):
                    time.sleep(self._linger)
                    self._strike()
                if time.monotonic() > self._deadline:
                    raise _RunStuckError(f"the {role} does not come to an end")
        except EOFError:
            return stored

    def _is_at_point(self, role: str, said: Message | None, before: Counter[str]) -> bool:
        point = self._point
        if self.struck or role != point.on:
            return False
        if point.seen is None:
            return said is not None and said.kind == point.hold
        return point.seen(Counter(self._vertex.requests.counts) - before, self._vertex)

    def _strike(self) -> None:
        self.struck = True
        for role in self._point.kills:
            self._alive[role].kill()


def play_round(point: CrashPoint, run_id: str, stack: LocalStack, log: Path) -> Outcome:
    """Play one round with a server of its own, and ask what became of it."""
    prompts = {f"{run_id} prompt {row}" for row in range(_ROWS)}
    source = upload(stack, BUCKET, f"{run_id}/in.jsonl", [request(prompt) for prompt in sorted(prompts)])
    with LocalVertex(
        storage_url=stack.storage.url,
        bigquery_url=stack.bigquery.url,
        project=PROJECT,
        queue_seconds=0.2,
        run_seconds=0.5,
    ) as vertex:
        for name, parameters in point.faults.items():
            vertex.faults.plan(name, **parameters)
        played = Round(point, run_id, source, vertex, log)
        manifest, stuck, trouble = None, False, ""
        try:
            manifest = played.play()
        except (_RunFailedError, _RunStuckError) as error:
            stuck, trouble = isinstance(error, _RunStuckError), str(error)
        finally:
            played.clean_up()
        return Outcome(
            duplicate_jobs=max(0, len(jobs_of(vertex)) - point.jobs),
            lost_rows=lost_rows(stack, prompts, manifest),
            stuck=stuck,
            missed=not played.struck,
            trouble=trouble,
        )
