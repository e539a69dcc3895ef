"""The batch jobs of one project and location, for code that waits for its answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.vertex import rest as wire

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from airflow_gemini_batch.jobs.submission import JobRequest


class BatchJobClient:
    """Create, get, list, cancel and delete batch jobs.

    Every call raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` for an answer that is none.

    :param credentials: with the scope ``https://www.googleapis.com/auth/cloud-platform``.
    :param base_url: address of the service; by default that of ``location``.
    """

    def __init__(
        self, *, credentials: Credentials, project: str, location: str, base_url: str | None = None
    ) -> None:
        from google.auth.transport.requests import AuthorizedSession

        self.project = project
        self.location = location
        self._base_url = base_url or wire.service_url(location)
        self._credentials = credentials
        self._session = AuthorizedSession(credentials)

    def create(self, request: JobRequest) -> BatchJob:
        """Create a job: sent once, never repeated by a library.

        A :class:`~airflow_gemini_batch.exceptions.VertexApiError` that is ``transient`` leaves it open
        whether the job exists.
        """
        from airflow_gemini_batch.vertex.create import create_job

        return create_job(
            request,
            credentials=self._credentials,
            project=self.project,
            location=self.location,
            base_url=self._base_url,
        )

    def get(self, name: JobName) -> BatchJob:
        """Return one job, in the project and location that its own name says."""
        action = f"reading {name}"
        return wire.read_job(action, self._call("GET", wire.job_url(self._base_url, name), action))

    def list(self, filter_: str = "") -> Iterator[BatchJob]:
        """Yield the jobs that match ``filter_``, newest first, page by page."""
        url = wire.jobs_url(self._base_url, self.project, self.location)
        action = f"listing the jobs of {self.project} in {self.location}"
        token = ""
        while True:
            body = self._call("GET", url, action, params=wire.list_parameters(filter_, token))
            jobs, token = wire.read_page(action, body)
            yield from jobs
            if not token:
                return

    def cancel(self, name: JobName) -> None:
        """Ask for a job to be cancelled; its state follows later, and it may still end in another way."""
        self._call("POST", f"{wire.job_url(self._base_url, name)}:cancel", f"cancelling {name}", json={})

    def delete(self, name: JobName) -> None:
        """Delete a job that has ended."""
        self._call("DELETE", wire.job_url(self._base_url, name), f"deleting {name}")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _call(self, method: str, url: str, action: str, **arguments: Any) -> bytes:
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from requests.exceptions import RequestException

        try:
            response = self._session.request(
                method, url, timeout=(wire.CONNECT_TIMEOUT, wire.READ_TIMEOUT), **arguments
            )
        except RefreshError as error:
            raise CredentialsError(f"{action}: Google refuses the credentials ({error})") from error
        except (RequestException, GoogleAuthError) as error:
            raise VertexApiError(f"{action}: no answer from Vertex AI ({error})") from error
        wire.check_status(action, response.status_code, response.content)
        return bytes(response.content)
