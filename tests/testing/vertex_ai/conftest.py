from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq
from google.cloud import storage as gcs

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery
from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.testing.vertex_ai.http import LOCATION, PROJECT, VertexCaller

BUCKET = "books"


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloudStorage]:
    with LocalCloudStorage(tmp_path_factory.mktemp("storage")) as server:
        server.create_bucket(BUCKET, LOCATION)
        server.create_bucket("elsewhere", "europe-west4")
        server.create_bucket("many-regions", "us")
        yield server


@pytest.fixture(scope="session")
def storage(storage_server: LocalCloudStorage) -> Iterator[gcs.Client]:
    client = gcs.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": storage_server.url},
    )
    yield client
    client.close()


@pytest.fixture(scope="session")
def bigquery_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBigQuery]:
    server = LocalBigQuery(tmp_path_factory.mktemp("bigquery")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def bigquery(bigquery_server: LocalBigQuery) -> Iterator[bq.Client]:
    client = bq.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": bigquery_server.url},
    )
    for name, location in (("shop", LOCATION), ("shop_in_europe", "europe-west4"), ("shop_anywhere", "US")):
        dataset = bq.Dataset(f"{PROJECT}.{name}")
        dataset.location = location
        client.create_dataset(dataset)
    yield client
    client.close()


@pytest.fixture
def start_vertex(storage_server: LocalCloudStorage) -> Iterator[Callable[..., LocalVertex]]:
    """Starts a server with a fast clock; stopped when the test ends."""
    servers: list[LocalVertex] = []

    def start(**arguments: Any) -> LocalVertex:
        # A port that nobody listens on: most tests have no table.
        defaults = {
            "bigquery_url": "http://127.0.0.1:9",
            "queue_seconds": 0.05,
            "run_seconds": 0.05,
            "tuned_models": ["1234567890123"],
        }
        server = LocalVertex(storage_url=storage_server.url, **{**defaults, **arguments})
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def vertex(start_vertex: Callable[..., LocalVertex]) -> LocalVertex:
    return start_vertex()


@pytest.fixture
def call(vertex: LocalVertex) -> Iterator[VertexCaller]:
    """Plain HTTP calls to ``vertex``."""
    with VertexCaller(vertex.url) as caller:
        yield caller


@pytest.fixture
def folder(storage: gcs.Client, request: pytest.FixtureRequest) -> Folder:
    """A folder of the bucket that belongs to the running test."""
    return Folder(storage, Path(request.node.nodeid).name.translate(str.maketrans("[]:= /#*?", "_________")))


class Folder:
    """Writes input files to a folder, and reads the predictions written below it."""

    def __init__(self, client: gcs.Client, name: str) -> None:
        self.bucket = client.bucket(BUCKET)
        self.name = name

    def uri(self, name: str) -> str:
        return f"gs://{BUCKET}/{self.name}/{name}"

    def write(self, rows: list[Any], name: str = "in.jsonl") -> str:
        """Writes one line a row (a string as it is); returns the address."""
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        self.bucket.blob(f"{self.name}/{name}").upload_from_string("\n".join(lines))
        return self.uri(name)

    def objects(self, prefix: str = "out/") -> list[str]:
        full = f"{self.name}/{prefix}"
        return [blob.name.removeprefix(full) for blob in self.bucket.list_blobs(prefix=full)]

    def predictions(self, directory: str) -> list[dict[str, Any]]:
        """The rows in all prediction files of a job's output directory."""
        prefix = directory.removeprefix(f"gs://{BUCKET}/") + "/predictions.jsonl"
        blobs = self.bucket.list_blobs(prefix=prefix)
        return [json.loads(line) for blob in blobs for line in blob.download_as_text().splitlines()]
