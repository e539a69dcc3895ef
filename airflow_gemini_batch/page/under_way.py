"""What Vertex AI says about jobs under way, for a page that does not wait long for it.

The calls run in threads of their own. A page waits a few seconds and shows what is known by then; what comes later is
there for the next page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.page.task_jobs import WaitedFor

if TYPE_CHECKING:
    from airflow_gemini_batch.jobs.state import BatchJob

MOST_JOBS = 20
"""Jobs that one page asks for."""

log = logging.getLogger(__name__)

Connection = tuple[object, ...]
"""What jobs of one connection have in common."""

ReadJobs = Callable[[Sequence[WaitedFor]], Iterable["BatchJob"]]
"""Reads jobs of one connection, one after the other, in their order."""


class JobReader:
    """Reads jobs for all pages of this process, and keeps what it has read for some seconds.

    :param read_jobs: reads jobs of one connection.
    :param patience: how long a page waits for the answers, in seconds.
    :param fresh: for how long an answer is shown without asking again, in seconds.
    :param threads: how many connections are asked at once.
    """

    def __init__(
        self, read_jobs: ReadJobs, *, patience: float = 3.0, fresh: float = 15.0, threads: int = 4
    ) -> None:
        self._read_jobs = read_jobs
        self._patience = patience
        self._fresh = fresh
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="gemini-batch-page")
        self._lock = threading.Lock()
        self._known: dict[WaitedFor, tuple[float, BatchJob]] = {}
        self._asked: dict[Connection, Future[None]] = {}

    def read(self, waited_for: Iterable[WaitedFor]) -> Mapping[WaitedFor, BatchJob]:
        """Return the jobs that are known after a short wait; those that are not are left out."""
        jobs = list(dict.fromkeys(waited_for))[:MOST_JOBS]
        wait(
            [self._ask(connection, jobs) for connection in dict.fromkeys(map(_connection, jobs))],
            self._patience,
        )
        with self._lock:
            return {job: self._known[job][1] for job in jobs if job in self._known}

    def _ask(self, connection: Connection, jobs: Sequence[WaitedFor]) -> Future[None]:
        """Begin to ask for jobs of a connection; one that does not answer is not asked a second time meanwhile."""
        with self._lock:
            too_old = time.monotonic() - self._fresh
            self._known = {job: known for job, known in self._known.items() if known[0] > too_old}
            asked = self._asked.get(connection)
            if asked is None or asked.done():
                unknown = [job for job in jobs if _connection(job) == connection and job not in self._known]
                asked = self._asked[connection] = self._threads.submit(self._take, unknown)
            return asked

    def _take(self, jobs: Sequence[WaitedFor]) -> None:
        try:
            for waited_for, job in zip(jobs, self._read_jobs(jobs), strict=True):
                with self._lock:
                    self._known[waited_for] = time.monotonic(), job
        except Exception as error:
            log.warning(
                "The page of batch jobs could not read jobs: %s", shown(f"{type(error).__name__}: {error}")
            )


def _connection(job: WaitedFor) -> Connection:
    return job.gcp_conn_id, job.impersonation_chain, job.quota_project_id


def read_jobs(jobs: Sequence[WaitedFor]) -> Iterable[BatchJob]:
    """Read jobs of one connection from Vertex AI, as their tasks do."""
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

    if not jobs:
        return
    first = jobs[0]
    hook = GeminiBatchHook(
        first.gcp_conn_id,
        impersonation_chain=first.impersonation_chain,
        quota_project_id=first.quota_project_id,
    )
    hook.read_timeout = 5.0
    for job in jobs:
        name = hook.job_name(job.job_name)
        yield hook.get_conn(name).get(name)
