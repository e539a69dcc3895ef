"""What an input table must have and may not have; the service finds out when the job imports it."""

from __future__ import annotations

from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.local.vertex.data.clients import DataClients
from airflow_gemini_batch.local.vertex.errors import import_error
from airflow_gemini_batch.local.vertex.jobs.models import Family

# The column that holds the request, by the family that reads it; gemini-embedding reads no tables.
MAIN_COLUMN = {Family.GENERATION: "request", Family.TEXT_EMBEDDING: "content"}

_MAIN_TYPES = {"request": ("JSON", "STRING"), "content": ("STRING",)}
_RESERVED = {"request": ("response", "status"), "content": ("predictions", "status")}
_REFUSED_TYPES = ("ARRAY", "STRUCT", "RECORD", "RANGE", "DATETIME", "GEOGRAPHY")


def check_table(address: BigQueryAddress, family: Family, location: str, clients: DataClients) -> Any:
    """Return the ``google.cloud.bigquery.Table``, when the job can read it.

    Raises :class:`~airflow_gemini_batch.local.vertex.errors.JobError`, as the service fails the job.
    """
    from google.api_core.exceptions import NotFound

    dataset_name = f"{address.project}:{address.dataset}"
    try:
        dataset = clients.bigquery.get_dataset(f"{address.project}.{address.dataset}", retry=None)
        table = clients.bigquery.get_table(address.dotted, retry=None)
    except NotFound as error:
        raise import_error(
            f"Not found: Table {dataset_name}.{address.table} was not found in location {location}",
            status="NOT_FOUND",
        ) from error
    if location not in ("global", dataset.location.lower()):
        raise import_error(f"Not found: Dataset {dataset_name} was not found in location {location} at [2:1]")
    if table.table_type == "VIEW":
        raise import_error('Syntax error: Expected end of input but got identifier "_vertex_row_id"')
    _check_schema(table.schema, MAIN_COLUMN[family], address.dotted)
    return table


def _check_schema(schema: list[Any], main: str, table: str) -> None:
    present = {item.name: item.field_type for item in schema}
    if main not in present:
        raise import_error(f"Table {table} has no column {main!r}.")
    if present[main] not in _MAIN_TYPES[main]:
        expected = " or ".join(_MAIN_TYPES[main])
        raise import_error(f"Column {main!r} of {table} is {present[main]}, not {expected}.")
    for item in schema:
        kind = "ARRAY" if item.mode == "REPEATED" else item.field_type
        # Columns beside a text are dropped, whatever they hold.
        if main == "request" and kind in _REFUSED_TYPES:
            raise import_error(f"Column {item.name!r} of {table} has the unsupported type {kind}.")
        if item.name in _RESERVED[main]:
            raise import_error(f"Column {item.name!r} of {table} has a reserved name.")
