"""The batch jobs of one project and location, for code on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.vertex import rest as wire

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from aiohttp import ClientSession
    from google.auth.credentials import Credentials


class AsyncBatchJobClient:
    """Read batch jobs without blocking the loop; made and used within one event loop.

    It reads only: a trigger may run twice at once, so nothing is created from an event loop.
    Every call raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` for an answer that is none.
    """

    def __init__(
        self, *, credentials: Credentials, project: str, location: str, base_url: str | None = None
    ) -> None:
        self.project = project
        self.location = location
        self._base_url = base_url or wire.service_url(location)
        self._credentials = credentials
        self._refreshing = asyncio.Lock()
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, name: JobName) -> BatchJob:
        """Return one job, in the project and location that its own name says."""
        action = f"reading {name}"
        return wire.read_job(action, await self._get(wire.job_url(self._base_url, name), action, {}))

    async def list(self, filter_: str = "", *, page_size: int = wire.PAGE_SIZE) -> AsyncIterator[BatchJob]:
        """Yield the jobs that match ``filter_``, newest first, page by page."""
        token = ""
        while True:
            page = await self.page(filter_, token, page_size)
            jobs, token = wire.read_page(page.action, page.body)
            for job in jobs:
                yield job
            if not token:
                return

    async def page(self, filter_: str, token: str, page_size: int) -> wire.Page:
        """Return one page of the list, newest first; reading it is left to who knows what is worth the time."""
        url = wire.jobs_url(self._base_url, self.project, self.location)
        action = f"listing the jobs of {self.project} in {self.location}"
        return wire.Page(
            action, await self._get(url, action, wire.list_parameters(filter_, token, page_size))
        )

    async def _get(self, url: str, action: str, parameters: dict[str, str]) -> bytes:
        import aiohttp
        from google.auth.exceptions import GoogleAuthError, RefreshError

        try:
            headers = {"Authorization": f"Bearer {await self._token()}"}
            async with self._open_session().get(url, params=parameters, headers=headers) as response:
                body = await response.read()
        except RefreshError as error:
            raise CredentialsError(f"{action}: Google refuses the credentials ({error})") from error
        except (aiohttp.ClientError, GoogleAuthError, TimeoutError, OSError) as error:
            named = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise VertexApiError(f"{action}: no answer from Vertex AI ({named})") from error
        wire.check_status(action, response.status, body)
        return body

    def _open_session(self) -> ClientSession:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(sock_connect=wire.CONNECT_TIMEOUT, total=wire.READ_TIMEOUT)
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
