"""Tables for the tests, and the way to BigQuery."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack


def bigquery_client(stack: LocalStack) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    return Client(PROJECT, AnonymousCredentials(), client_options={"api_endpoint": stack.bigquery.url})


def make_dataset(stack: LocalStack, location: str = LOCATION) -> str:
    """Make a fresh dataset and return its address."""
    from google.cloud.bigquery import Dataset

    dataset = Dataset(f"{PROJECT}.dataset_{uuid.uuid4().hex[:12]}")
    dataset.location = location
    bigquery_client(stack).create_dataset(dataset)
    return f"bq://{dataset.project}.{dataset.dataset_id}"


def fill(
    stack: LocalStack, address: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]] = ()
) -> str:
    """Append rows to a table, which is made when it does not exist, and return its address.

    :param columns: BigQuery's types by name; the values of a JSON column are given as objects.
    """
    from google.cloud.bigquery import LoadJobConfig, SchemaField, Table

    client, name = bigquery_client(stack), address.removeprefix("bq://")
    schema = [
        SchemaField(column, kind.removeprefix("ARRAY<").removesuffix(">"), "REPEATED")
        if kind.startswith("ARRAY<")
        else SchemaField(column, kind)
        for column, kind in columns.items()
    ]
    client.create_table(Table(name, schema=schema), exists_ok=True)
    if rows := list(rows):
        client.load_table_from_json(rows, name, job_config=LoadJobConfig(schema=schema)).result()
    return address


def read(stack: LocalStack, address: str) -> list[dict[str, Any]]:
    """Return a table's rows."""
    return [dict(row) for row in bigquery_client(stack).list_rows(address.removeprefix("bq://"))]
