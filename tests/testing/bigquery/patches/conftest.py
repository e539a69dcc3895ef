from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery
from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage

PROJECT = "demo-project"
# What breaks SQL and JSON when a layer quotes it once too often or too little.
NASTY = 'He said "hi" \\ it\'s {new}\r\nline\ttab 😀 مرحبا 你好 @key $1 %s ? ` \u2028 </b>'
_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBigQuery]:
    with LocalBigQuery(tmp_path_factory.mktemp("bigquery")) as running:
        yield running


@pytest.fixture(scope="package")
def client(server: LocalBigQuery) -> bigquery.Client:
    return bigquery.Client(
        project=PROJECT, credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url}
    )


@pytest.fixture
def dataset(client: bigquery.Client) -> Iterator[str]:
    name = f"dataset_{next(_numbers)}"
    client.create_dataset(name)
    yield name
    client.delete_dataset(name, delete_contents=True, not_found_ok=True)


@pytest.fixture(scope="package")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloudStorage]:
    with LocalCloudStorage(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture
def bucket(
    storage_server: LocalCloudStorage, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> storage.Bucket:
    """Give the test a bucket of its own, on the storage server that the BigQuery server finds."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.url)
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())
    return client.create_bucket(f"bucket-{dataset.replace('_', '-')}")


Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def query(client: bigquery.Client, dataset: str) -> Query:
    """Run a statement in the test's dataset, called ``ds`` in it, and give the rows."""

    def run(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        job = client.query(
            sql.replace("ds.", f"{dataset}."),
            job_config=bigquery.QueryJobConfig(
                query_parameters=[_typed(*each) for each in parameters.items()]
            ),
            job_retry=None,
        )
        return [tuple(row.values()) for row in job.result(job_retry=None)]

    return run


def _typed(name: str, value: Any) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    kind = {bool: "BOOL", int: "INT64", float: "FLOAT64"}.get(type(value), "STRING")
    return bigquery.ScalarQueryParameter(name, kind, value)


def types_of(client: bigquery.Client, table: str) -> dict[str, str]:
    return {field.name: field.field_type for field in client.get_table(table).schema}
