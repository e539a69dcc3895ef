from __future__ import annotations

import os
import socket
import tempfile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from airflow_gemini_batch.testing.gcs.server import LocalCloudStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

# Read when airflow and gcsfs are first imported, so before any test that does.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
os.environ.setdefault("NO_GCE_CHECK", "true")


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that would leave this machine fails its test."""
    look_up = socket.getaddrinfo

    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        assert host in ("127.0.0.1", "localhost", b"127.0.0.1"), f"tried to reach {host!r}"
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloudStorage]:
    with LocalCloudStorage(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture(scope="package")
def client(server: LocalCloudStorage) -> storage.Client:
    return storage.Client(
        project="demo-project",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": server.url},
    )


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.create_bucket(f"bucket-{uuid4().hex}")


@pytest.fixture
def http(server: LocalCloudStorage) -> Iterator[Http]:
    with Http(server.url) as session:
        yield session


class Http(requests.Session):
    """Plain requests, for what no client library lets one send; paths start at the server's root."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        return super().request(
            method, url if url.startswith("http") else self.base_url + url, *args, **kwargs
        )
