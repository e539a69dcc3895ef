"""The life of a job: from PENDING through RUNNING to its end, on the server's clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from airflow_gemini_batch.testing.vertex_ai.errors import JobError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job, State
from airflow_gemini_batch.testing.vertex_ai.jobs.runner import Result

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """How long the stations of a job's life take, in seconds.

    :param cancel_seconds: from the cancel call to CANCELLED; in the first half GET still shows the old state.
    """

    queue_seconds: float
    run_seconds: float
    cancel_seconds: float


class Work(Protocol):
    """What a job does while it runs; blocking."""

    def count_rows(self, job: Job) -> int:
        """Import the input; returns the number of rows, raises JobError when it can't be imported."""

    def export(self, job: Job, rows: int, share: float) -> Result:
        """Answer the first ``share`` of the rows and write them."""


class Life:
    """Walks one job to its end; to be run as a task of the server's event loop.

    :param workers: where the blocking work is done, so that the event loop never waits for it.
    """

    def __init__(self, job: Job, clock: Clock, work: Work, workers: Executor) -> None:
        self._job = job
        self._work = work
        self._workers = workers
        slow = job.fault("slow")
        self._clock = (
            Clock(slow["queue_seconds"], slow["run_seconds"], clock.cancel_seconds) if slow else clock
        )

    async def live(self) -> None:
        """Go through all stations; whatever the work raises ends the job as FAILED."""
        try:
            await self._stations()
        except JobError as error:
            self._fail(error)
        except Exception as error:
            _log.exception("The job %s failed in the local server", self._job.name)
            self._fail(JobError("INTERNAL", f"INTERNAL: {error!r}"))

    async def _stations(self) -> None:
        job = self._job
        if job.started is None:
            await self._wait(self._clock.queue_seconds, between=State.QUEUED)
        if job.cancelled.is_set() and job.started is None:
            await self._cancel(rows=0, share=0)
        elif job.fault("expire_queued"):
            job.error = {"code": 4, "message": "The job was queued for longer than 72 hours."}
            job.to(State.EXPIRED)
        else:
            job.to(State.RUNNING)
            await self._run()

    async def _run(self) -> None:
        job, clock = self._job, self._clock
        began = asyncio.get_running_loop().time()
        rows = await self._in_worker(lambda: self._work.count_rows(job))
        spent = asyncio.get_running_loop().time() - began
        await self._wait(clock.run_seconds - spent, between=State.UPDATING)
        if job.cancelled.is_set():
            share = (asyncio.get_running_loop().time() - began) / max(clock.run_seconds, 1e-9)
            await self._cancel(rows, min(1.0, share))
        elif fault := job.fault("fail"):
            await self._export(rows, fault["share"])
            raise JobError(fault["status"], fault["message"])
        elif job.fault("pause"):
            job.to(State.PAUSED)
            # Nobody resumes it; only a cancel call ends it.
            await job.cancelled.wait()
            await self._cancel(rows, share=0)
        elif fault := job.fault("expire_running"):
            await self._export(rows, fault["share"])
            job.error = {"code": 4, "message": "The job ran for longer than 24 hours."}
            job.to(State.EXPIRED)
        elif fault := job.fault("partly_succeed"):
            await self._export(rows, fault["share"])
            job.to(State.PARTIALLY_SUCCEEDED)
        else:
            await self._export(rows, 1.0)
            job.to(State.SUCCEEDED)

    async def _cancel(self, rows: int, share: float) -> None:
        job, half = self._job, self._clock.cancel_seconds / 2
        await asyncio.sleep(half)
        job.to(State.CANCELLING)
        await asyncio.sleep(half)
        if job.fault("cancel_fails"):
            raise JobError("INTERNAL", "INTERNAL")
        if rows and job.fault("cancel_comes_late"):
            await self._export(rows, 1.0)
            job.to(State.SUCCEEDED)
            return
        if rows:
            await self._export(rows, share)
        job.error = {"code": 1, "message": "CANCELED"}
        job.to(State.CANCELLED)

    async def _export(self, rows: int, share: float) -> None:
        result: Result = await self._in_worker(lambda: self._work.export(self._job, rows, share))
        job = self._job
        job.succeeded_rows, job.failed_rows = result.succeeded, result.failed
        job.incomplete_rows, job.partial_failures = result.incomplete, result.failures
        job.output = result.output

    async def _wait(self, seconds: float, *, between: State) -> None:
        """Let time pass in the present state, or a third of it in a rarer one; a cancel call cuts it short."""
        state = self._job.state
        if self._job.fault("rare_states"):
            await self._pass(seconds / 3)
            self._job.to(between)
            await self._pass(seconds / 3)
            self._job.to(state)
            seconds /= 3
        await self._pass(seconds)

    async def _pass(self, seconds: float) -> None:
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._job.cancelled.wait()

    async def _in_worker(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    def _fail(self, error: JobError) -> None:
        job = self._job
        if job.fault("error_details"):
            error.details = [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "STAND_IN",
                    "domain": "local",
                },
                {"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": str(error)},
            ]
        job.error = error.rpc_status
        job.to(State.FAILED)
