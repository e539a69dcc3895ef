"""The batch jobs of one project and location, for code on an event loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.defaults import DEFAULT_READ_TIMEOUT
from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.client import JobPage, JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.vertex import rest

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from google.auth.credentials import Credentials


class AsyncBatchJobClient:
    """Read batch jobs without blocking the loop; made and used within one event loop.

    It reads only: a trigger may run twice at once, so nothing is created from an event loop.
    Every method raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` on an error status or an unreadable
    body.

    :param read_timeout: how long to wait for one answer, in seconds.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        project: str,
        location: str,
        base_url: str | None = None,
        read_timeout: float = DEFAULT_READ_TIMEOUT,
    ) -> None:
        self.project = project
        self.location = location
        self.parent = rest.parent_of(project, location)
        self._base_url = rest.base_url_of(location, base_url)
        self._read_timeout = read_timeout
        self._page_size = rest.LARGE_PAGE_SIZE
        self._credentials = credentials
        self._refreshing = asyncio.Lock()
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, name: JobName) -> BatchJob:
        """Return one job, in the project and location that its own name says."""
        action = f"reading {name}"
        body = await self._get(rest.job_url(self._base_url, name), action, {})
        return rest.read_job(action, body, name.parent)

    async def page(self, query: JobQuery, token: str = "") -> JobPage:
        """Return one page of a list, newest jobs first.

        The page is large. Where the service refuses that, this one and all later ones are small.
        """
        url = rest.jobs_url(self._base_url, self.parent)
        action = f"listing the jobs of {self.project} in {self.location}"
        while True:
            parameters = rest.list_parameters(query, token, self._page_size)
            try:
                body = await self._get(url, action, parameters)
                return partial(rest.read_page, action, body, self.parent)
            except VertexApiError as error:
                if error.code != 400 or self._page_size == rest.PAGE_SIZE:
                    raise
                self._page_size = rest.PAGE_SIZE

    async def _get(self, url: str, action: str, parameters: dict[str, str]) -> bytes:
        import aiohttp
        from google.auth.exceptions import GoogleAuthError, RefreshError

        try:
            headers = {"Authorization": f"Bearer {await self._token()}"}
            if quota_project := getattr(self._credentials, "quota_project_id", None):
                headers["x-goog-user-project"] = quota_project
            async with self._open_session().get(
                url, params=parameters, headers=headers, allow_redirects=False
            ) as response:
                body = await response.read()
        except RefreshError as error:
            raise CredentialsError(f"{action}: Google refuses the credentials ({error})") from error
        except (aiohttp.ClientError, GoogleAuthError, TimeoutError, OSError) as error:
            named = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise VertexApiError(f"{action}: no answer from Vertex AI ({named})") from error
        rest.check_status(action, response.status, body)
        return body

    def _open_session(self) -> ClientSession:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(sock_connect=rest.CONNECT_TIMEOUT, total=self._read_timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=True)
        return self._session

    async def _token(self) -> str:
        # Refreshing blocks (HTTP, sometimes a subprocess), so it is done in a thread, by one caller at a time.
        if not self._credentials.valid:
            from google.auth.transport.requests import Request

            async with self._refreshing:
                if not self._credentials.valid:
                    await asyncio.to_thread(self._credentials.refresh, Request())
        return str(self._credentials.token)
