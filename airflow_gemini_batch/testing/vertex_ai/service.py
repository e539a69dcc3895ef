"""What the API does, behind HTTP: create, get, list, cancel and delete jobs of one project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from copy import copy
from datetime import UTC, datetime, timedelta

from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.faults import Fault, Faults
from airflow_gemini_batch.testing.vertex_ai.jobs.bare import BareJobs, BareWork
from airflow_gemini_batch.testing.vertex_ai.jobs.create import Caller, read_create
from airflow_gemini_batch.testing.vertex_ai.jobs.filter import parse_filter
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job
from airflow_gemini_batch.testing.vertex_ai.jobs.kept import KeptJobs
from airflow_gemini_batch.testing.vertex_ai.jobs.life import Clock, Life, Work
from airflow_gemini_batch.testing.vertex_ai.jobs.locations import check_locations
from airflow_gemini_batch.testing.vertex_ai.jobs.runner import Runner
from airflow_gemini_batch.testing.vertex_ai.jobs.store import JobStore
from airflow_gemini_batch.testing.vertex_ai.readings import Readings

_ORDERS = {"": False, "create_time desc": False, "create_time": True, "create_time asc": True}


class JobService:
    """Jobs and what can be done with them. Used in the server's event loop only.

    :param workers: where blocking work is done.
    :param kept: where the jobs are kept for a later server, if they are.
    """

    def __init__(
        self,
        clients: DataClients,
        faults: Faults,
        readings: Readings,
        clock: Clock,
        runner: Runner,
        workers: Executor,
        kept: KeptJobs | None = None,
    ) -> None:
        self._clients = clients
        self._faults = faults
        self._readings = readings
        self._clock = clock
        self._runner = runner
        self._workers = workers
        self._kept = kept
        self._lives: set[asyncio.Task[None]] = set()
        self.store = JobStore()

    async def create(self, body: object, caller: Caller) -> Job:
        """Check a job, look at its buckets and datasets, and start its life."""
        request = read_create(body, caller, self._readings)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._workers, check_locations, request, self._clients)
        name = str(request.body["displayName"])
        job = Job(request, caller.project_number, self._faults.strike_job(name), copy(self._readings))
        if self._kept is not None:
            self._kept.save(job)
            job.on_change = self._kept.save
        self._begin(job, self._runner)
        return job

    def resume(self, jobs: Iterable[Job]) -> None:
        """Take over the jobs of an earlier server; as with the service, those under way go on."""
        for job in jobs:
            if job.state.is_final:
                self.store.add(job)
                continue
            if self._kept is not None:
                job.on_change = self._kept.save
            self._begin(job, self._runner)

    def seed(self, wanted: BareJobs, project_number: str) -> list[Job]:
        """Start jobs without data."""
        work = BareWork()
        jobs = [wanted.job(number, project_number) for number in range(wanted.count)]
        for job in jobs:
            self._begin(job, work)
        return jobs

    def _begin(self, job: Job, work: Work) -> None:
        self.store.add(job)
        life = asyncio.create_task(Life(job, self._clock, work, self._workers).live())
        # The loop itself holds tasks weakly.
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    def get(self, caller: Caller, job_id: str) -> Job:
        """Return a job by its id; raises ``NOT_FOUND`` if it does not exist."""
        job = self.store.get(caller.location, job_id)
        if job is None:
            raise CallError(
                "NOT_FOUND",
                f"The BatchPredictionJob does not exist: projects/{caller.project_number}/locations/"
                f"{caller.location}/batchPredictionJobs/{job_id}",
            )
        return job

    def list(
        self, caller: Caller, *, text: str, order: str, size: int, token: str, faults: Iterable[Fault] = ()
    ) -> tuple[list[Job], str]:
        """Return one page of the jobs that the filter ``text`` lets through, and the next page's token.

        :param faults: faults that strike this call.
        """
        if order not in _ORDERS:
            raise CallError("INVALID_ARGUMENT", f"Invalid order_by: '{order}'. Use create_time [desc].")
        keep = parse_filter(text)
        visible = _visibility(faults)
        location = caller.location
        return self.store.page(
            lambda job: job.request.location == location and visible(job) and keep(job),
            size=size,
            token=token,
            query=f"{location}/{text}/{order}",
            oldest_first=_ORDERS[order],
        )

    def cancel(self, caller: Caller, job_id: str) -> None:
        """Ask a job to stop; ``FAILED_PRECONDITION`` when it has ended."""
        job = self.get(caller, job_id)
        if job.state.is_final:
            raise CallError(
                "FAILED_PRECONDITION", f"The job {job.name} is in state {job.state}. It can't be cancelled."
            )
        job.cancelled.set()
        if job.on_change is not None:
            job.on_change(job)

    def delete(self, caller: Caller, job_id: str) -> Job:
        """Forget a job that has ended; ``FAILED_PRECONDITION`` when it has not."""
        job = self.get(caller, job_id)
        if not job.state.is_final:
            raise CallError(
                "FAILED_PRECONDITION",
                f"The job {job.name} is in state {job.state}. Only finished jobs can be deleted; cancel it first.",
            )
        self.store.remove(job)
        if self._kept is not None:
            self._kept.forget(job)
        return job

    async def stop(self) -> None:
        """Abandon the jobs that are still alive, but for a later server if they are kept."""
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)


def _visibility(faults: Iterable[Fault]) -> Callable[[Job], bool]:
    stale = next((fault for fault in faults if fault.name == "stale_list"), None)
    if stale is None:
        return lambda job: True
    newest = datetime.now(UTC) - timedelta(seconds=stale["seconds"])
    return lambda job: job.created < newest
