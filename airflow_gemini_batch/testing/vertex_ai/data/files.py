"""JSON Lines on Cloud Storage: the input of a job, and its prediction files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import Any

import orjson

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.data.row import Column, InputRow, OutputRow
from airflow_gemini_batch.testing.vertex_ai.errors import import_error
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job, timestamp

# Larger files are spooled to disk.
_IN_MEMORY_BYTES = 8 * 2**20
_INCREMENTAL_ROWS = 100


class FileSource:
    """The lines of some objects; blank ones are skipped."""

    def __init__(self, addresses: tuple[GcsAddress, ...], clients: DataClients) -> None:
        self._addresses = addresses
        self._clients = clients

    @property
    def columns(self) -> list[Column]:
        """None: a line has no columns beside its request."""
        return []

    def rows(self) -> Iterator[InputRow]:
        """Read the lines of all objects, one object after the other."""
        for address in self._addresses:
            for blob in self._blobs(address):
                yield from _lines(blob)

    def _blobs(self, address: GcsAddress) -> list[Any]:
        from google.api_core.exceptions import NotFound

        bucket = self._clients.storage.bucket(address.bucket)
        try:
            if address.has_wildcard:
                pattern = _pattern(address.path)
                prefix = address.path.split("*", 1)[0]
                blobs = bucket.list_blobs(prefix=prefix, retry=None)
                found = [blob for blob in blobs if pattern.fullmatch(blob.name)]
            else:
                found = [blob] if (blob := bucket.get_blob(address.path, retry=None)) else []
        except NotFound:
            found = []
        if not found:
            raise import_error(f"Not found: No object matches {address}", status="NOT_FOUND")
        return found


def _lines(blob: Any) -> Iterator[InputRow]:
    uri = f"gs://{blob.bucket.name}/{blob.name}"
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        # The client's own stream reads a line byte by byte.
        blob.download_to_file(spool)
        spool.seek(0)
        for number, line in enumerate(spool, start=1):
            if line.strip():
                yield InputRow(_decoded(line, f"{uri}: line {number}"))


def _pattern(path: str) -> re.Pattern[str]:
    """Return the names that a path with wildcards stands for: ``*`` ends at a slash, ``**`` does not."""
    # Every second piece is a run of asterisks.
    pieces = re.split(r"(\*+)", path)
    pieces[::2] = [re.escape(piece) for piece in pieces[::2]]
    pieces[1::2] = ["[^/]*" if piece == "*" else ".*" for piece in pieces[1::2]]
    return re.compile("".join(pieces))


def _decoded(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise import_error(f"Error while reading {place} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise import_error(f"Error while reading {place} is not a JSON object")
    return value


class FileSink:
    """``<prefix>/prediction-model-<createTime>/predictions.jsonl``, one object a part."""

    def __init__(self, job: Job, destination: GcsAddress, clients: DataClients) -> None:
        self._folder = destination.child(f"prediction-model-{timestamp(job.created)}")
        self._clients = clients
        self._incremental = job.fault("incremental_file") is not None

    @property
    def info(self) -> dict[str, str]:
        """``gcsOutputDirectory``."""
        return {"gcsOutputDirectory": str(self._folder)}

    def shape(self, passed: dict[str, Any], answer: OutputRow) -> dict[str, Any]:
        """Return the answer's line, with the columns of an input table in front."""
        return {**passed, **answer.line}

    def write(self, rows: Iterator[dict[str, Any]], part: int, parts: int) -> None:
        """Write ``predictions.jsonl``, or its shard when there are several parts."""
        name = "predictions.jsonl" if parts == 1 else f"predictions.jsonl-{part:05}-of-{parts:05}"
        blob = self._blob(name)
        first: list[bytes] = []
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
            for row in rows:
                line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
                spool.write(line)
                if self._incremental and len(first) < _INCREMENTAL_ROWS:
                    first.append(line)
            blob.upload_from_file(spool, rewind=True, content_type="application/octet-stream")
        if self._incremental:
            self._blob("incremental_predictions.jsonl").upload_from_string(b"".join(first))

    def _blob(self, name: str) -> Any:
        return self._clients.storage.bucket(self._folder.bucket).blob(self._folder.child(name).path)
