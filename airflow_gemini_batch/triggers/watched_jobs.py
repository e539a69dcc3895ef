"""One list of ended jobs for all watchers of a process that have the connection and location in common."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.exceptions import JobServiceError
from airflow_gemini_batch.jobs.client import AsyncJobClient, JobPage, JobQuery, ListedJob
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.jobs.watch import JobWatch
from airflow_gemini_batch.triggers.lookup import LONGEST_JOB
from airflow_gemini_batch.triggers.poller import no_garbage_collection, open_client

_log = ShownLog(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class Place:
    """What the watchers of one list have in common."""

    gcp_conn_id: str
    project_id: str | None
    location: str | None
    impersonation_chain: str | tuple[str, ...] | None
    quota_project_id: str | None


class EndedJobs:
    """Lists the jobs that any of its watches wants.

    Each job is read once after it has changed. What is kept are the jobs that are wanted, and of each other one that
    the list names its id and progress.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = asyncio.Lock()
        self._client: AsyncJobClient | None = None
        self._watches: list[JobWatch] = []
        self._known: dict[str, tuple[object, BatchJob | None]] = {}
        self._asked = -math.inf
        self._answer: list[BatchJob] | JobServiceError = []

    async def ask(self, max_age: float) -> list[BatchJob] | JobServiceError:
        """Return the jobs, or why they can't be listed, as seen at most ``max_age`` seconds ago.

        An error is not raised, since many watchers may share it.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._asked > max_age:
                try:
                    self._answer = await self._list()
                except JobServiceError as error:
                    self._answer = error
                self._asked = now
            return self._answer

    async def _list(self) -> list[BatchJob]:
        if self._client is None:
            self._client = await open_client(**asdict(self._place))
        query, token = self._query(utc_now()), ""
        known: dict[str, tuple[object, BatchJob | None]] = {}
        while True:
            token = self._read(await self._client.page(query, token), known)
            if not token:
                break
        self._known = known
        return [job for _, job in known.values() if job]

    def _query(self, now: datetime) -> JobQuery:
        oldest = min(watch.since(now) for watch in self._watches) - LONGEST_JOB
        shared = set.intersection(*(set(watch.labels.items()) for watch in self._watches))
        return JobQuery(labels=dict(shared), created=(oldest, now + timedelta(days=1)))

    def _read(self, page: JobPage, known: dict[str, tuple[object, BatchJob | None]]) -> str:
        """Note the jobs of a page, and return the next page's token."""
        with no_garbage_collection():
            jobs, token = page()
            for job in jobs:
                before = self._known.get(job.job_id)
                if before is None or before[0] != job.progress:
                    before = job.progress, self._wanted(job)
                known[job.job_id] = before
            del jobs
        return token

    def _wanted(self, listed: ListedJob) -> BatchJob | None:
        try:
            job = listed.read()
        except JobServiceError as error:
            # It is read again when it changes; the others must not wait for it.
            _log.warning("Could not read the job %s of a list: %s", listed.job_id, error)
            return None
        return job if any(watch.wants(job) for watch in self._watches) else None

    def _join(self, watch: JobWatch) -> None:
        self._watches.append(watch)
        # What the others did not want may be what this one waits for.
        self._known = {}
        self._asked = -math.inf

    async def _leave(self, watch: JobWatch) -> None:
        self._watches.remove(watch)
        if not self._watches:
            _lists.pop((asyncio.get_running_loop(), self._place), None)
            if self._client is not None:
                await self._client.close()


_lists: dict[tuple[asyncio.AbstractEventLoop, Place], EndedJobs] = {}


@asynccontextmanager
async def ended_jobs(place: Place, watch: JobWatch) -> AsyncIterator[EndedJobs]:
    """Give the list of a place in the running loop; the last watch that leaves closes its connections."""
    jobs = _lists.setdefault((asyncio.get_running_loop(), place), EndedJobs(place))
    jobs._join(watch)
    try:
        yield jobs
    finally:
        await jobs._leave(watch)
