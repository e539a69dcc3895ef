"""Run an aiohttp application in a thread of its own, on 127.0.0.1 only, for those who know its address."""

from __future__ import annotations

import asyncio
import secrets
import threading
from typing import TYPE_CHECKING, Self

from aiohttp import web

from airflow_gemini_batch.testing.gate import HOST, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HOST", "ServerThread"]


class ServerThread:
    """An aiohttp application served from its own thread and event loop.

    :param application: makes the application; called inside the server's event loop.
    :param port: port to listen on; 0 takes a free one.
    :param largest_body: most bytes of a body that is read whole; 0 for no limit.
    """

    def __init__(
        self, application: Callable[[], web.Application], *, port: int = 0, largest_body: int = 0
    ) -> None:
        self._application = application
        self._port = port
        self._largest_body = largest_body
        self._token = secrets.token_urlsafe()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use; meaningful after :meth:`start`."""
        return self._port

    @property
    def url(self) -> str:
        """Base address with the token, without a trailing slash; meaningful after :meth:`start`."""
        return f"http://{HOST}:{self._port}/{self._token}"

    def start(self) -> Self:
        """Start serving; returns when the port accepts connections, raises what kept it from doing so."""
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop serving and wait for the thread; does nothing when it is not running."""
        if self._loop is not None and self._stopping is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join(timeout=10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # handed to start(), which raises it in the caller's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        application = guarded(self._application(), self._token, largest_body=self._largest_body)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self._port, backlog=4096)
            await site.start()
            self._port = runner.addresses[0][1]
            self._ready.set()
            await self._stopping.wait()
        finally:
            await runner.cleanup()
