"""Answers in files on their way to a table: one row for each request, loaded into a staging table by one load job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.queries import CALL_TIMEOUT, Queries
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.formats import JSON_LINES, Layout
from airflow_gemini_batch.landing.files.matching import staged_rows
from airflow_gemini_batch.landing.files.portions import STAGED
from airflow_gemini_batch.landing.plan import LandingPlan, staging_columns
from airflow_gemini_batch.sql.engine import identifier

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def stage_files(
    plan: LandingPlan,
    manifests: Sequence[Manifest],
    staging: BigQueryAddress,
    storage_client: storage.Client,
    bigquery_client: bigquery.Client,
    log: Log,
) -> None:
    """Load the outcome and the answer of each request into a staging table, which is replaced if it exists.

    Its columns are those of :func:`airflow_gemini_batch.landing.plan.staging_columns`, with text for keys. The rows
    pass through the worker's disk, in constant memory.

    Raises what :func:`~airflow_gemini_batch.landing.files.matching.staged_rows` raises.
    """
    with staged_rows(plan, manifests, StorageObjects(storage_client), log, JSON_LINES) as rows:
        columns = staging_columns(plan)
        # A repeated column takes an empty list, and no null.
        values = ", ".join(
            f"COALESCE({identifier(name)}, []) AS {identifier(name)}"
            if kind.startswith("ARRAY<")
            else identifier(name)
            for name, kind in columns.items()
        )
        file = rows.folder / "load.jsonl"
        with JSON_LINES.writing(rows.database, file, Layout(columns, plan.key)) as write:
            for _ in rows.portions():
                write(rows.database.sql(f"SELECT {values} FROM {STAGED}").to_arrow_table())
        _load(plan, file, staging, bigquery_client, log)


def _load(plan: LandingPlan, file: Path, staging: BigQueryAddress, client: bigquery.Client, log: Log) -> None:
    from google.cloud.bigquery import LoadJobConfig, SchemaField, SourceFormat, Table, WriteDisposition

    schema = [
        SchemaField(name, kind.removeprefix("ARRAY<").removesuffix(">"), "REPEATED")
        if kind.startswith("ARRAY<")
        else SchemaField(name, kind)
        for name, kind in staging_columns(plan).items()
    ]
    table = Table(staging.dotted, schema=schema)
    # A load job can't ask for a table that expires.
    table.expires = datetime.now(UTC) + timedelta(days=1)
    client.delete_table(table, not_found_ok=True, timeout=CALL_TIMEOUT)
    client.create_table(table, timeout=CALL_TIMEOUT)
    config = LoadJobConfig(
        schema=schema,
        source_format=SourceFormat.NEWLINE_DELIMITED_JSON,
        write_disposition=WriteDisposition.WRITE_TRUNCATE,
    )
    with file.open("rb") as stream:
        job = client.load_table_from_file(stream, staging.dotted, rewind=True, job_config=config)
    Queries(client, log).wait(job)
