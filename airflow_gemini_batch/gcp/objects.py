"""Objects on Cloud Storage, found by address or pattern and read line by line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.lines import iter_lines, raw_lines
from airflow_gemini_batch.gcp.pieces import IsOdd, Piece, pieces, whole_lines

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

# predictions.jsonl, or its shards predictions.jsonl-00000-of-00002; incremental_predictions.jsonl is a copy of
# rows that the final file holds too.
_PREDICTIONS = re.compile(r"predictions\.jsonl(-\d+-of-\d+)?")

_CHUNK = 8 * 1024 * 1024
_SMALL_CHUNK = 2**20

CREATE_OBJECTS = "storage.objects.create"

# In seconds, for what a preflight asks: without an answer it warns, and does not wait for the ten minutes of the
# libraries' own retries.
_CALL_TIMEOUT = 30.0
_RETRY_FOR = 30.0


class StorageObjects:
    """Objects that hold one JSON object a line.

    :param client: of ``google-cloud-storage``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        # An object's generation never changes, so what was counted once is not read again.
        self._line_counts: dict[str, int] = {}

    def versions(self, sources: Sequence[GcsAddress]) -> list[str]:
        """Return ``gs://bucket/object#generation`` for each object that the sources name.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when one names none.
        """
        return [f"gs://{blob.bucket.name}/{blob.name}#{blob.generation}" for blob in self.objects(sources)]

    def count_requests(self, sources: Sequence[GcsAddress]) -> int:
        """Return the number of requests: the lines that are not blank."""
        count = 0
        for blob in self.objects(sources):
            if blob.id not in self._line_counts:
                self._line_counts[blob.id] = sum(1 for _ in self._lines(blob))
            count += self._line_counts[blob.id]
        return count

    def check_destination(self, address: GcsAddress) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when the bucket does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            # Listing needs no more than the roles that writing the output needs, unlike reading the bucket.
            next(iter(self._client.list_blobs(address.bucket, max_results=1)), None)
        except NotFound:
            raise InvalidRequestError(f"destination {address}: the bucket does not exist") from None

    def prediction_folders(self, prefix: GcsAddress) -> list[GcsAddress]:
        """Return the folders below a prefix that hold prediction files."""
        folders = {blob.name.rpartition("/")[0] for blob in self.prediction_files(prefix)}
        return [GcsAddress(prefix.bucket, folder) for folder in sorted(folders)]

    def prediction_files(self, prefix: GcsAddress) -> list[Blob]:
        """Return the prediction files below a prefix, sorted by name."""
        path = f"{prefix.path.rstrip('/')}/" if prefix.path else ""
        blobs = self._client.list_blobs(prefix.bucket, prefix=path)
        found = [blob for blob in blobs if _PREDICTIONS.fullmatch(blob.name.rpartition("/")[2])]
        return sorted(found, key=lambda blob: str(blob.name))

    def objects(self, sources: Sequence[GcsAddress]) -> Iterator[Blob]:
        """Yield the objects that the sources name.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that names none.
        """
        for source in sources:
            found = 0
            for blob in self._matches(source):
                found += 1
                yield blob
            if not found:
                named = "no object matches it" if source.has_wildcard else "there is no such object"
                raise SourceNotReadyError(f"source {source}: {named}")

    def _matches(self, source: GcsAddress) -> Iterator[Blob]:
        from google.api_core.exceptions import NotFound

        if not source.has_wildcard:
            if blob := self._client.bucket(source.bucket).get_blob(source.path):
                yield blob
            return
        try:
            for blob in self._client.list_blobs(source.bucket, prefix=source.path.split("*", 1)[0]):
                if source.matches(blob.name):
                    yield blob
        except NotFound:
            raise SourceNotReadyError(f"source {source}: the bucket does not exist") from None

    def lines(self, blobs: Iterable[Blob]) -> Iterator[bytes]:
        """Yield the lines of objects, one object after the other, without blank ones and line ends."""
        for blob in blobs:
            yield from self._lines(blob)

    @staticmethod
    def _lines(blob: Blob) -> Iterator[bytes]:
        yield from iter_lines(_Content(blob), _CHUNK)

    def chunks(self, blobs: Iterable[Blob]) -> Iterator[bytes]:
        """Yield objects, one after the other, some lines at a time: see :func:`.whole_lines`."""
        for blob in blobs:
            yield from whole_lines(_Content(blob))

    def pieces(self, blobs: Iterable[Blob], folder: Path, is_odd: IsOdd = lambda _: False) -> Iterator[Piece]:
        """Yield the lines of objects as files in a folder: see :func:`airflow_gemini_batch.gcp.pieces.pieces`."""
        return pieces(map(_Content, blobs), folder, is_odd)

    def raw_lines(self, blob: Blob, longest: int) -> Iterator[bytes]:
        """Yield an object's lines as they are, and load no more of it than is asked for.

        :param longest: most bytes of a line; see :func:`airflow_gemini_batch.gcp.lines.raw_lines`.
        """
        # The library's own stream reads a line byte by byte.
        with blob.open(
            "rb", chunk_size=_SMALL_CHUNK, if_generation_match=blob.generation, retry=_retry()
        ) as stream:
            yield from raw_lines(io.BufferedReader(stream, _SMALL_CHUNK), longest)

    def bucket_location(self, bucket: str) -> str | None:
        """Return where a bucket lies; None if it does not exist.

        Needs the permission ``storage.buckets.get``, which reading and writing objects does not: without it the
        library's ``Forbidden`` is raised.
        """
        from google.api_core.exceptions import NotFound

        try:
            return str(self._client.get_bucket(bucket, timeout=_CALL_TIMEOUT, retry=_retry()).location)
        except NotFound:
            return None

    def may_write(self, bucket: str) -> bool | None:
        """Return whether the client may create objects in a bucket; None if it does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            granted = self._client.bucket(bucket).test_iam_permissions(
                [CREATE_OBJECTS], timeout=_CALL_TIMEOUT, retry=_retry()
            )
        except NotFound:
            return None
        return CREATE_OBJECTS in granted


class _Content:
    """The content of an object as a stream, a chunk at a time; the library's own copies each of them once more.

    The generation is pinned: an object replaced meanwhile ends in an error, not in a mix of two.
    """

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._place = 0
        self._rest = b""
        self._parts: list[bytes] = []
        # The loop of the library over 8 KB takes longer than all the rest; earlier releases have no other one.
        parameters = signature(blob.download_to_file).parameters
        self._options = {"single_shot_download": True} if "single_shot_download" in parameters else {}

    def read(self, size: int = _CHUNK, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        if not self._rest and self._place < self._blob.size:
            self._blob.download_to_file(
                self,
                start=self._place,
                end=self._place + max(size, _CHUNK) - 1,
                if_generation_match=self._blob.generation,
                checksum=None,  # of the whole object alone there is one
                **self._options,
            )
            self._rest, self._parts = b"".join(self._parts), []
            self._place += len(self._rest)
        content, self._rest = self._rest, b""
        if len(content) > size:
            content, self._rest = content[:size], content[size:]
        return content

    def write(self, content: bytes) -> int:
        """Take what the library has downloaded, all of it at once or a part of it."""
        self._parts.append(content)
        return len(content)

    def seek(self, _place: int) -> None:
        """Go back to the beginning, where the library writes again after an error."""
        self._parts = []

    def close(self) -> None:
        self._rest = b""


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_FOR)
