"""The local Vertex AI server: batch prediction jobs on 127.0.0.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiohttp import web

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.testing.server_thread import ServerThread
from airflow_gemini_batch.testing.vertex_ai.api import BatchPredictionApi
from airflow_gemini_batch.testing.vertex_ai.call_log import CallLog
from airflow_gemini_batch.testing.vertex_ai.control import Controls
from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.faults import Faults
from airflow_gemini_batch.testing.vertex_ai.jobs.create import Caller, read_create
from airflow_gemini_batch.testing.vertex_ai.jobs.job import JobRequest
from airflow_gemini_batch.testing.vertex_ai.jobs.kept import KeptJobs
from airflow_gemini_batch.testing.vertex_ai.jobs.life import Clock
from airflow_gemini_batch.testing.vertex_ai.jobs.runner import Runner
from airflow_gemini_batch.testing.vertex_ai.readings import Readings
from airflow_gemini_batch.testing.vertex_ai.rows.failures import RowFailures
from airflow_gemini_batch.testing.vertex_ai.rows.gemini_embedding import GeminiEmbeddingRows
from airflow_gemini_batch.testing.vertex_ai.rows.generation import GenerationRows
from airflow_gemini_batch.testing.vertex_ai.rows.responder import Responder, stand_in
from airflow_gemini_batch.testing.vertex_ai.rows.row_format import RowFormat
from airflow_gemini_batch.testing.vertex_ai.rows.text_embedding import TextEmbeddingRows
from airflow_gemini_batch.testing.vertex_ai.service import JobService

_WORKERS = 4
_LARGEST_BODY = 10 * 2**20


class LocalVertex(ServerThread):
    """Vertex AI's batchPredictionJobs for trying and for tests; never for production.

    It is as strict as the service, and its answers come from no model: they are deterministic and say
    that they are a stand-in. The clock is ``queue_seconds`` PENDING, then ``run_seconds`` RUNNING.

    :param storage_url: base address of the local Cloud Storage server.
    :param bigquery_url: base address of the local BigQuery server.
    :param project: the one project that exists; every other is refused.
    :param project_number: what the names of jobs carry instead of the project's id.
    :param port: port to listen on; 0 takes a free one.
    :param seed: decides the order of output rows, and which rows fail.
    :param cancel_seconds: from a cancel call to CANCELLED.
    :param fail_rate: share of good rows that fail all the same, see
        :class:`~airflow_gemini_batch.testing.vertex_ai.rows.failures.RowFailures`.
    :param responder: a GenerateContentRequest → a GenerateContentResponse, both as camelCase dicts; called
        from several threads.
    :param max_rows: most rows of a job by family, to try a limit without reaching it.
    :param readings: how the server behaves where the service's behaviour is not settled; can be changed at any time.
    :param tuned_models: numbers of the tuned models that exist, in every location but ``global``.
    :param jobs_file: a SQLite file that keeps the jobs for a later server; those under way go on then. Jobs without
        data are not kept.
    """

    def __init__(
        self,
        *,
        storage_url: str,
        bigquery_url: str,
        project: str = "demo-project",
        project_number: str = "123456789012",
        port: int = 0,
        seed: int = 0,
        queue_seconds: float = 1.0,
        run_seconds: float = 2.0,
        cancel_seconds: float = 0.2,
        fail_rate: float = 0.0,
        responder: Responder | None = None,
        max_rows: Mapping[ModelFamily, int] | None = None,
        readings: Readings | None = None,
        tuned_models: Collection[str] = (),
        jobs_file: Path | None = None,
    ) -> None:
        self.faults = Faults()
        self.readings = readings or Readings()
        self._tuned_models = frozenset(tuned_models)
        self._jobs_file = jobs_file
        self.requests = CallLog()
        self.project = project
        self.project_number = project_number
        self._clock = Clock(queue_seconds, run_seconds, cancel_seconds)
        self._clients = DataClients(storage_url=storage_url, bigquery_url=bigquery_url, project=project)
        failures = RowFailures(rate=fail_rate, seed=seed)
        formats: dict[ModelFamily, RowFormat] = {
            GENERATE_CONTENT: GenerationRows(responder or stand_in, failures),
            TEXT_EMBEDDING: TextEmbeddingRows(failures),
            GEMINI_EMBEDDING: GeminiEmbeddingRows(failures),
        }
        limits = {family: family.max_rows for family in formats} | dict(max_rows or {})
        self._runner = Runner(self._clients, formats, seed=seed, max_rows=limits)
        super().__init__(self._make_application, port=port, largest_body=_LARGEST_BODY)

    def stop(self) -> None:
        """Stop serving and abandon the jobs that have not ended, but for a later server if they are kept."""
        self._runner.stop()
        super().stop()
        self._clients.close()

    def _make_application(self) -> web.Application:
        workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="local-vertex")
        kept = KeptJobs(self._jobs_file) if self._jobs_file else None
        service = JobService(
            self._clients, self.faults, self.readings, self._clock, self._runner, workers, kept
        )
        names = (self.project, self.project_number)
        application = web.Application()
        controls = Controls(
            service, self.faults, self.readings, self.requests, project_number=self.project_number
        )
        controls.add_routes(application)
        api = BatchPredictionApi(
            service, self.faults, self.requests, projects=names, tuned_models=self._tuned_models
        )
        api.add_routes(application)

        async def resume(_: web.Application) -> None:
            if kept is not None:
                service.resume(kept.load(self._read_request))

        async def abandon(_: web.Application) -> None:
            await service.stop()
            if kept is not None:
                kept.close()
            workers.shutdown(wait=False, cancel_futures=True)

        application.on_startup.append(resume)
        application.on_shutdown.append(abandon)
        return application

    def _read_request(self, location: str, body: dict[str, Any], readings: Readings) -> JobRequest:
        caller = Caller(self.project, self.project_number, location, self._tuned_models)
        return read_create(body, caller, readings)
