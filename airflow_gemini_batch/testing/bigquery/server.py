"""A BigQuery server on 127.0.0.1, for trying and for tests: bqemulator with its gaps closed.

The real clients talk to it over REST. ``google-cloud-bigquery`` and Airflow's BigQuery operators find it through
``BIGQUERY_EMULATOR_HOST``, its :attr:`~LocalBigQuery.url`, and anonymous credentials. That includes the deferrable
``BigQueryInsertJobOperator``, whose trigger polls through the same client. The few triggers that ask through
gcloud-aio (table existence, query results) need :func:`let_gcloud_aio_find_it`.

Tables live in memory and end with :meth:`LocalBigQuery.stop`, unless they are to be kept. A job is done when its
request is answered. Emulated SQL is not BigQuery: ``docs/local-stack.md`` lists where it differs.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from airflow_gemini_batch.testing.gate import HOST
from airflow_gemini_batch.testing.server_thread import ServerThread


class LocalBigQuery(ServerThread):
    """The REST API of BigQuery, served from a thread of this process on 127.0.0.1 only.

    :param folder: directory for uploads in flight and for what DuckDB spills; nothing is written outside it.
    :param port: port to listen on; 0 takes a free one.
    :param project: project of requests that name none.
    :param default_location: location of datasets and jobs that are created without one.
    :param storage_url: gives the address of the storage server that load jobs and EXPORT DATA reach; without it,
        ``STORAGE_EMULATOR_HOST`` of this process does.
    :param keep: keep datasets, tables and the list of jobs in a file of the folder, for a later server. Results of
        queries are not kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        project: str = "demo-project",
        default_location: str = "us-central1",
        storage_url: Callable[[], str] | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__(self._make_application, port=port)
        self._folder = folder.absolute()
        self._project = project
        self._default_location = default_location
        self._storage_url = storage_url
        self._keep = keep

    def start(self) -> Self:
        """Start serving and return when requests are answered.

        Raises ``ModuleNotFoundError`` when the extra ``local`` is not installed,
        :class:`.SeamMissingError` when bqemulator is of a version that
        can't be corrected, and ``OSError`` when the port is taken.
        """
        if importlib.util.find_spec("bqemulator") is None:
            raise ModuleNotFoundError(
                "The local BigQuery server needs bqemulator: pip install 'airflow-gemini-batch[local]'"
            )
        from airflow_gemini_batch.testing.bigquery.patches import close_gaps

        close_gaps()
        super().start()
        # DuckDB complains at length when its connection outlives the interpreter.
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop serving, free the port and drop the tables that are not kept; does nothing when it is not running."""
        atexit.unregister(self.stop)
        super().stop()

    def _make_application(self) -> web.Application:
        from bqemulator.api.app import create_app

        from airflow_gemini_batch.testing.bigquery.patches.http import CorrectedApplication
        from airflow_gemini_batch.testing.bigquery.patches.request import Serving

        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        context = _context(self._folder, self._project, keep=self._keep)
        serving = Serving(context, self._default_location, self._storage_url)
        corrected = CorrectedApplication(create_app(context), serving)

        async def hold_engine(_: web.Application) -> AsyncIterator[None]:
            await context.engine.start()
            if self._keep:
                context.catalog.ensure_ready()
                context.udf_registry.hydrate(context.catalog, context.engine)
            try:
                yield
            finally:
                corrected.forget_results()
                await context.engine.stop()

        application = web.Application()
        application.cleanup_ctx.append(hold_engine)
        application.router.add_route("*", "/{path:.*}", corrected.handle)
        return application


def let_gcloud_aio_find_it() -> None:
    """Let gcloud-aio accept a ``BIGQUERY_EMULATOR_HOST`` that begins with ``http://``, in this process.

    google-cloud-bigquery takes the variable as it is and gcloud-aio puts ``http://`` before it, so no value serves
    both: with a scheme, Airflow's triggers for table existence and query results look up a host named "http". Call
    it in the process that runs triggers: the triggerer, or the one of ``dag.test()``.
    """
    from gcloud.aio.bigquery import bigquery

    original = bigquery.init_api_root
    if original.__module__ == __name__:
        return

    def init_api_root(api_root: str | None, api_is_dev: bool | None = None) -> tuple[bool, str]:
        host = os.environ.get("BIGQUERY_EMULATOR_HOST", "")
        if not api_root and "://" in host:
            api_root = f"{host}/bigquery/v2"
        return original(api_root, api_is_dev)

    bigquery.init_api_root = init_api_root


def _context(folder: Path, project: str, *, keep: bool) -> Any:
    """Return what bqemulator's routes work on: engine, catalog and settings of one server.

    bqemulator's own server does the same and starts gRPC beside REST, reconfigures the logging of the whole process
    and writes to the system's temporary directory; hence this shorter composition.
    """
    from bqemulator.api.dependencies import AppContext
    from bqemulator.catalog.duckdb_repository import DuckDBCatalogRepository
    from bqemulator.catalog.memory_repository import MemoryCatalogRepository
    from bqemulator.config import PersistenceMode, Settings
    from bqemulator.domain.clock import SystemClock
    from bqemulator.domain.events import EventBus
    from bqemulator.jobs.upload_session_manager import UploadSessionManager
    from bqemulator.observability.metrics import MetricsRegistry
    from bqemulator.row_access.policy import RowAccessPolicyManager
    from bqemulator.storage.engine import DuckDBEngine
    from bqemulator.udf.runtime import UDFRegistry
    from bqemulator.versioning.snapshots import SnapshotManager

    settings = Settings(
        rest_host=HOST,
        persistence_mode=PersistenceMode.PERSISTENT if keep else PersistenceMode.EPHEMERAL,
        data_dir=folder,
        upload_staging_dir=folder / "uploads",
        default_project_id=project,
        enable_format_extensions=False,
        metrics_enabled=False,
        admin_enabled=False,
    )
    engine, clock, events = DuckDBEngine(settings), SystemClock(), EventBus()
    catalog = DuckDBCatalogRepository(engine) if keep else MemoryCatalogRepository(engine)
    return AppContext(
        settings=settings,
        clock=clock,
        engine=engine,
        catalog=catalog,
        metrics=MetricsRegistry(),
        events=events,
        udf_registry=UDFRegistry(settings),
        snapshots=SnapshotManager(engine, catalog, clock, events, retention_days=0),
        row_access=RowAccessPolicyManager(catalog=catalog, clock=clock),
        upload_sessions=UploadSessionManager(
            staging_dir=settings.upload_staging_dir,
            max_bytes=settings.upload_max_bytes,
            ttl_seconds=settings.upload_session_ttl_seconds,
            clock=clock,
        ),
    )
