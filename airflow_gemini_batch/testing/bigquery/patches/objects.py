"""The ``gs://`` objects that jobs read and write, on the local storage server only."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from airflow_gemini_batch.testing.bigquery.patches.request import current


@contextlib.contextmanager
def local_files(uris: list[str], folder: Path) -> Iterator[Callable[[], list[Path]]]:
    """Give a function that fetches the files of a load job, and remove the fetched ones afterwards.

    :param uris: ``file://`` of an upload, or ``gs://bucket/name`` with ``*`` in the name or without.
    :param folder: directory of the uploads, and for what is fetched.

    The function raises ``ValueError`` when an address matches no object, is of another kind, or when no local storage
    server is set: this server never asks the real Cloud Storage.
    """
    with tempfile.TemporaryDirectory(dir=folder) as fetched:
        yield lambda: [path for uri in uris for path in _fetch(uri, Path(fetched))]


def _fetch(uri: str, folder: Path) -> list[Path]:
    if uri.startswith("file://"):
        path = Path(uri.removeprefix("file://")).resolve()
        if path.parent == folder.parent.resolve():
            return [path]
    paths = []
    for blob in matching(storage_client(uri), uri):
        paths.append(folder / f"{len(list(folder.iterdir()))}{Path(blob.name).suffix}")
        paths[-1].touch(mode=0o600)
        blob.download_to_filename(paths[-1])
    if not paths:
        raise ValueError(f"Not found: URI {uri}")
    return paths


def storage_client(uri: str) -> Any:
    """Give a client of the local storage server, to reach an address.

    Raises ``ValueError`` for an address of another kind, and when no local storage server is known: this server never
    asks the real Cloud Storage.
    """
    if not uri.startswith("gs://"):
        raise ValueError(f"{uri!r} is not a gs:// address.")
    asked = current().storage_url
    endpoint = asked() if asked else os.environ.get("STORAGE_EMULATOR_HOST")
    if not endpoint:
        raise ValueError(
            f"{uri!r} can't be reached: this server knows no storage server. Start both as a LocalStack, or set "
            "STORAGE_EMULATOR_HOST to the local storage server's address in the process that runs this one."
        )
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    return storage.Client(
        project="local", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
    )


def matching(client: Any, uri: str) -> list[Any]:
    """Give the objects at an address, whose name may hold ``*``."""
    bucket, _, pattern = uri.removeprefix("gs://").partition("/")
    return [
        blob
        for blob in client.list_blobs(bucket, prefix=pattern.partition("*")[0])
        if blob.name == pattern or ("*" in pattern and fnmatch.fnmatchcase(blob.name, pattern))
    ]
