"""What an input table must have and may not have; the service finds out when the job imports it."""

from __future__ import annotations

from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.requests.forms import column_faults
from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.errors import import_error


def check_table(address: BigQueryAddress, family: ModelFamily, location: str, clients: DataClients) -> Any:
    """Return the ``google.cloud.bigquery.Table``, when the job can read it.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.JobError`, as the service fails the job.
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
    columns = [(item.name, "ARRAY" if item.mode == "REPEATED" else item.field_type) for item in table.schema]
    for fault in column_faults(columns, family):
        raise import_error(f"Table {address.dotted}: {fault}.")
    return table
