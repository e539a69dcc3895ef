"""A Cloud Storage server on 127.0.0.1, its objects on disk. For trying and for tests, never for production.

It speaks the JSON API well enough for google-cloud-storage, Airflow's GCSHook and GCSAsyncHook, gcsfs and
ObjectStoragePath, all of which find it by ``STORAGE_EMULATOR_HOST``, its :attr:`~LocalCloudStorage.url`. It asks
nobody for credentials. Preconditions, generations, pages, ranges and checksums are those of the service; versions
that are no longer live, access control and life cycles do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from airflow_gemini_batch.testing.gcs.api import StorageApi, in_google_envelope
from airflow_gemini_batch.testing.gcs.errors import StorageError
from airflow_gemini_batch.testing.gcs.store import ObjectStore
from airflow_gemini_batch.testing.server_thread import ServerThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_BODY_LIMIT = 32 << 20


class LocalCloudStorage(ServerThread):
    """The server, in a thread of its own; objects outlive it and are there again when it next starts.

    :param folder: where the objects are kept; one server per folder. It is made when it does not exist.
    :param port: port to listen on; 0 takes a free one.
    :param default_location: location of a bucket that is created without one.
    """

    def __init__(self, folder: Path, *, port: int = 0, default_location: str = "US-CENTRAL1") -> None:
        super().__init__(self._serve_store, port=port, largest_body=_BODY_LIMIT)
        self._folder = folder
        self._default_location = default_location
        self._store: ObjectStore | None = None

    def create_bucket(self, name: str, location: str | None = None, *, exist_ok: bool = False) -> None:
        """Create a bucket without a client; the server must be running.

        :param exist_ok: leave a bucket of that name as it is.
        :raises StorageError: 400 for an illegal name, 409 for one that is taken.
        """
        if self._store is None:
            raise RuntimeError("The local Cloud Storage server is not running: call start() first")
        try:
            self._store.create_bucket(name, {"location": (location or self._default_location).upper()})
        except StorageError as error:
            if not (exist_ok and error.status == 409):
                raise

    def _serve_store(self) -> web.Application:
        store = ObjectStore(self._folder)

        async def hold_store(_: web.Application) -> AsyncIterator[None]:
            self._store = store
            yield
            self._store = None
            store.close()

        app = web.Application(middlewares=[in_google_envelope])
        app.cleanup_ctx.append(hold_store)
        app.add_routes(StorageApi(store, self._default_location).routes())
        return app
