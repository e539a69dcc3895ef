"""The batch-job service as this package knows it: to use another service, implement these protocols.

``vertex/`` implements the clients for Vertex AI, and ``hooks/gemini_batch.py`` the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from airflow_gemini_batch.jobs.state import BatchJob, JobName

if TYPE_CHECKING:
    from airflow_gemini_batch.jobs.submission import JobRequest
    from airflow_gemini_batch.outputs.store import DataStore


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs to list: those that meet all conditions, without any all jobs.

    Callers check the labels of what they get, and never take a job that is not listed for gone.

    :param labels: labels that the job carries.
    :param unfinished: leave out the jobs that are not worth waiting for any more.
    :param created: earliest and latest time of creation.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    unfinished: bool = False
    created: tuple[datetime, datetime] | None = None


ALL_JOBS = JobQuery()


class JobClient(Protocol):
    """The jobs of one parent, such as a project and location.

    Every method raises :class:`~airflow_gemini_batch.exceptions.JobServiceError` on an error status or an unreadable
    body.
    """

    @property
    def parent(self) -> str:
        """Where the jobs are, as their names' ``parent``."""

    def create(self, request: JobRequest) -> BatchJob:
        """Create a job: one call, never repeated. After an error that is not ``had_no_effect`` the job may exist."""

    def get(self, name: JobName) -> BatchJob:
        """Return one job."""

    def list(self, query: JobQuery = ALL_JOBS) -> Iterator[BatchJob]:
        """Yield jobs, newest first."""

    def cancel(self, name: JobName) -> None:
        """Ask for a job to be cancelled; it may still end in another way."""


@dataclass(slots=True)
class ListedJob:
    """One job of a list, not read yet: of 1,000 jobs few have changed since the last time.

    Not frozen, which would double what a page of 1,000 costs.

    :param job_id: the id in the job's name.
    :param progress: differs when a waiting task has to hear of the job again: its state and start, say.
    :param read: reads the job.
    """

    job_id: str
    progress: object
    read: Callable[[], BatchJob]


JobPage = Callable[[], tuple[list[ListedJob], str]]
"""One page of a list as it came. Calling it reads the jobs and the next page's token, empty after the last page."""


class AsyncJobClient(Protocol):
    """The same jobs for code on an event loop. It only reads: a trigger may run twice at once.

    Every method raises what those of :class:`JobClient` raise.
    """

    async def get(self, name: JobName) -> BatchJob:
        """Return one job."""

    async def page(self, query: JobQuery, token: str = "") -> JobPage:
        """Return one page of a list, newest jobs first."""

    async def close(self) -> None:
        """Close the connections."""


class Connection(Protocol):
    """What makes the clients: the Airflow hook, for all code that runs without Airflow as well."""

    @property
    def store(self) -> DataStore:
        """Requests and answers."""

    def job_name(self, text: str) -> JobName:
        """Read a stored job name; raises :class:`ValueError` for another text."""

    def get_conn(self, name: JobName | None = None) -> JobClient:
        """Return the client for a job's parent, or for the connection's own."""
