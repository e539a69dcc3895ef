"""Load jobs: files of rows into a table.

bqemulator hands each file to DuckDB's ``COPY`` and drops the options: a CSV file always had a header, a separator of
DuckDB's choosing and no NULL marker; a field that the schema does not have vanished; ``WRITE_TRUNCATE`` kept the old
schema. So load jobs are implemented again here, on DuckDB's readers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bqemulator.api.routes.tables import _parse_schema_fields
from bqemulator.catalog.models import TableSchema
from bqemulator.domain.errors import DomainError, ValidationError

from airflow_gemini_batch.testing.bigquery.patches import objects
from airflow_gemini_batch.testing.bigquery.patches.destinations import Destination
from airflow_gemini_batch.testing.bigquery.patches.jobs import failed, finished
from airflow_gemini_batch.testing.bigquery.patches.seams import replace
from airflow_gemini_batch.testing.bigquery.patches.sources import Source


def run_loads() -> None:
    """Run load jobs with :func:`execute_load`, those of uploaded files and those of ``gs://`` objects."""
    for module in ("bqemulator.api.routes.jobs", "bqemulator.api.routes.upload"):
        replace(module, "execute_load_job", lambda _original: execute_load)


def keep_uploads_private() -> None:
    """Let nobody else of this machine read an upload."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def create(manager: Any, *arguments: Any, **options: Any) -> Any:
            session = original(manager, *arguments, **options)
            session.staging_path.chmod(0o600)
            return session

        return create

    replace("bqemulator.jobs.upload_session_manager:UploadSessionManager", "create", make)


async def execute_load(project: str, job_id: str, config: dict[str, Any], context: Any) -> Any:
    """Run one load job and give it back finished; whatever goes wrong is the job's error."""
    reference = config.get("jobReference", {})  # of an upload; see jobs.keep_upload_reference
    job_id = reference.get("jobId") or job_id
    # A null is what is not set: Airflow's operator sends "quote": null.
    load = {name: value for name, value in config["load"].items() if value is not None}
    public = {name: value for name, value in load.items() if not (reference and name == "sourceUris")}
    config = {"load": public} | ({"labels": config["labels"]} if "labels" in config else {})
    started = context.clock.now()
    try:
        with objects.local_files(load["sourceUris"], context.settings.upload_staging_dir) as fetching:
            paths = await asyncio.to_thread(fetching)
            rows = _load(project, load, paths, context)
    except DomainError as error:
        return failed(project, job_id, "LOAD", config, error, context)
    except Exception as error:
        reading = ValueError(f"Error while reading data, error message: {error}")
        return failed(project, job_id, "LOAD", config, reading, context)
    statistics = {"load": {"outputRows": str(rows), "inputFiles": str(len(paths)), "badRecords": "0"}}
    return finished(project, job_id, "LOAD", config, statistics, started, context)


def _load(project: str, load: dict[str, Any], paths: list[Path], context: Any) -> int:
    destination = Destination.of(load, project, write="WRITE_APPEND")
    existing = destination.find(context)
    source = Source(load, paths, context.engine)
    fields = _parse_schema_fields((load.get("schema") or {}).get("fields") or [])
    if (
        not fields
        and existing is not None
        and not (load.get("autodetect") and destination.replaces(existing))
    ):
        fields = existing.schema_.fields
    if fields:
        select = source.select(fields)
    elif load.get("autodetect") or source.format == "PARQUET":
        fields, select = source.detect()
    else:
        raise ValidationError("No schema specified on job or table.")
    for field in fields:
        if field.mode == "REQUIRED" and source.has_null(select, field.name):
            raise ValidationError(f"Required field {field.name} cannot be null")
    return destination.fill(context, select, schema=TableSchema(fields=fields))


CORRECTIONS: tuple[Callable[[], None], ...] = (run_loads, keep_uploads_private)
