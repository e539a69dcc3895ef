"""What a batch job API has to offer: the runner knows no more of it than this."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from airflow_gemini_batch.jobs.state import BatchJob, JobName

if TYPE_CHECKING:
    from airflow_gemini_batch.jobs.submission import JobRequest
    from airflow_gemini_batch.outputs.store import DataStore


class JobClient(Protocol):
    """The jobs of one project and location.

    Every call raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` when the service does not answer it.
    """

    project: str
    location: str

    def create(self, request: JobRequest) -> BatchJob:
        """Create a job: one call, never repeated."""

    def get(self, name: JobName) -> BatchJob:
        """Return one job."""

    def list(self, filter_: str = "") -> Iterator[BatchJob]:
        """Yield the jobs that match a filter, newest first."""

    def cancel(self, name: JobName) -> None:
        """Ask for a job to be cancelled."""


class Connection(Protocol):
    """An Airflow connection, as the runner needs it."""

    @property
    def store(self) -> DataStore:
        """Requests and answers."""

    def get_conn(self, name: JobName | None = None) -> JobClient:
        """Return the client of a job's project and location, or of the connection's own."""
