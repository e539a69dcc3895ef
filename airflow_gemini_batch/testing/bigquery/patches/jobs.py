"""Corrections of how bqemulator runs and describes jobs."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

from bqemulator.api.routes import jobs as routes
from bqemulator.catalog.models import JobMeta
from bqemulator.domain.errors import DomainError, NotFoundError
from bqemulator.jobs.executor import (
    JOB_RESULTS,
    JOB_SCHEMAS,
    build_response_schema,
)

from airflow_gemini_batch.testing.bigquery.patches.destinations import Destination
from airflow_gemini_batch.testing.bigquery.patches.request import current
from airflow_gemini_batch.testing.bigquery.patches.seams import replace

_ROUTES = "bqemulator.api.routes.jobs"
_UPLOADS = "bqemulator.api.routes.upload"


def write_destinations() -> None:
    """Write a query's result into its ``destinationTable``, which was ignored.

    A job whose ``WRITE_EMPTY`` table holds rows fails with ``duplicate``. After ``WRITE_APPEND`` the job's result is
    the whole table. The job also keeps its configuration (labels, destination), of which the text alone was left.
    """

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def execute(*, query_config: dict[str, Any], **job: Any) -> Any:
            # Without its destination the original only runs the query.
            alone = {key: value for key, value in query_config.items() if key != "writeDisposition"}
            done = await original(query_config=alone, **job)
            query = done.configuration["query"] | query_config
            done = done.model_copy(update={"configuration": job["config"] | {"query": query}})
            # Only a query answers columns; DML and DDL have their tables in the statement.
            queried = not done.error_result and JOB_RESULTS[job["job_id"]].num_columns
            if not queried or "destinationTable" not in query_config:
                return done
            destination = Destination.of(query_config, job["project_id"], write="WRITE_EMPTY")
            try:
                _keep_result(destination, job["job_id"], job["ctx"])
            except Exception as error:
                return failed(job["project_id"], job["job_id"], "QUERY", job["config"], error, job["ctx"])
            return done

        return execute

    replace(_ROUTES, "_execute_query_or_failed_meta", make)


def copy_tables() -> None:
    """Copy a table as the job's dispositions say.

    Unless told otherwise bqemulator appends, where BigQuery refuses a table that holds rows.
    """

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        async def execute(project: str, job_id: str, config: dict[str, Any], context: Any) -> Any:
            copy = config["copy"]
            source = copy.get("sourceTable") or copy["sourceTables"][0]
            if copy.get("operationType", "COPY") != "COPY" or len(copy.get("sourceTables", ())) > 1:
                return await original(project, job_id, config, context)
            key = (source.get("projectId") or project, source["datasetId"], source["tableId"])
            started = context.clock.now()
            try:
                table = context.catalog.get_table(*key)
                if table is None:
                    raise NotFoundError(f"Not found: Table {key[0]}:{key[1]}.{key[2]}")
                select = f"SELECT * FROM {Destination(key, '', '', {}).reference}"
                destination = Destination.of(copy, project, write="WRITE_EMPTY")
                rows = destination.fill(context, select, schema=table.schema_)
            except Exception as error:
                return failed(project, job_id, "COPY", config, error, context)
            statistics = {"copy": {"copiedRows": str(rows)}}
            return finished(project, job_id, "COPY", config, statistics, started, context)

        return execute

    replace(_ROUTES, "execute_copy_job", make)


def describe_jobs() -> None:
    """Give a job the location that was asked for; all were in US.

    The answer to an upload comes from a shorter copy of the same function, without the job's times; now it comes
    from this one.
    """

    def make(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def describe(project: str, _job_id: str, job: Any, config: dict[str, Any]) -> dict[str, Any]:
            # An upload is passed with a job id that was made up for it; the job knows its own.
            answer = original(project, job.job_id, job, config)
            answer["jobReference"]["location"] = current().location_of(job.job_id)
            return answer

        return describe

    replace(_ROUTES, "_build_job_response", make)
    replace(_UPLOADS, "_build_job_response", lambda _shorter: routes._build_job_response)


def name_location() -> None:
    """Name the server's location in "… was not found in location …"; it was US, which sends a reader off track."""

    def make(original: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        def describe(error: Any) -> dict[str, Any]:
            result = original(error)
            location = current().default_location
            result["message"] = result["message"].replace(
                "found in location US", f"found in location {location}"
            )
            return result

        return describe

    replace(_ROUTES, "_domain_error_to_error_result", make)


def keep_upload_reference() -> None:
    """Keep the job id and location of an upload, which were dropped when its configuration was read.

    They travel on as ``jobReference`` in the configuration; ``loads.execute_load`` takes them out.
    """

    def make(original: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def read(envelope: dict[str, Any]) -> dict[str, Any]:
            reference = envelope.get("jobReference") or {}
            current().admit(reference.get("projectId", ""), reference)
            return original(envelope) | {"jobReference": reference}

        return read

    replace(_UPLOADS, "_load_configuration_from_envelope", make)


def accept_any_upload_type() -> None:
    """Accept ``*/*`` as the type of an upload's rows; ``load_table_from_json`` sends nothing else."""
    replace(_UPLOADS, "_PERMITTED_MEDIA_CONTENT_TYPES", lambda original: (*original, "*/*"))


def failed(
    project: str, job_id: str, kind: str, config: dict[str, Any], error: Exception, context: Any
) -> Any:
    """Give the finished job that reports an error.

    Errors of bqemulator keep their reason (``notFound``, ``duplicate`` …); any other is ``invalid``.
    """
    if isinstance(error, DomainError):
        result = routes._domain_error_to_error_result(error)
    else:
        result = {"reason": "invalid", "message": str(error)}
    return routes._failed_job_meta(
        project_id=project,
        job_id=job_id,
        job_type=kind,
        config=config,
        error_result=result,
        now=context.clock.now(),
    )


def finished(
    project: str,
    job_id: str,
    kind: str,
    config: dict[str, Any],
    statistics: dict[str, Any],
    started: dt.datetime,
    context: Any,
) -> Any:
    """Give the finished job that succeeded."""
    return JobMeta(
        project_id=project,
        job_id=job_id,
        job_type=kind,
        state="DONE",
        configuration=config,
        statistics=statistics,
        creation_time=started,
        start_time=started,
        end_time=context.clock.now(),
        etag=job_id,
    )


@contextlib.contextmanager
def selectable(result: Any, context: Any) -> Iterator[str]:
    """Give a DuckDB query over the Arrow table of a result, its columns of the types that they had in DuckDB."""
    context.engine.connection.register("__bqemu_result", result)
    try:
        yield f"SELECT {', '.join(_typed_column(field) for field in result.schema)} FROM __bqemu_result"
    finally:
        context.engine.connection.unregister("__bqemu_result")


def _keep_result(destination: Destination, job_id: str, context: Any) -> None:
    with selectable(JOB_RESULTS[job_id], context) as select:
        destination.fill(context, select)
    if destination.write == "WRITE_APPEND":
        JOB_RESULTS[job_id] = context.engine.fetch_arrow(f"SELECT * FROM {destination.reference}")
        JOB_SCHEMAS[job_id] = build_response_schema(JOB_RESULTS[job_id].schema)


def _typed_column(field: Any) -> str:
    kind = (field.metadata or {}).get(b"bqemu.duckdb_type", b"").decode()
    if kind in ("TINYINT", "SMALLINT", "INTEGER", "HUGEINT", '"NULL"'):
        kind = "BIGINT"  # BigQuery has one integer type, of 64 bits, and gives it to NULL too
    name = '"' + field.name.replace('"', '""') + '"'
    return f"CAST({name} AS {kind}) AS {name}" if kind else name


CORRECTIONS = (
    write_destinations,
    copy_tables,
    describe_jobs,
    name_location,
    keep_upload_reference,
    accept_any_upload_type,
)
