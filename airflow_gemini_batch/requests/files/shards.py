"""Requests on their way to Cloud Storage: spooled to disk, cut where a job's limits are, then uploaded."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import WriteableBuffer
    from google.cloud.storage import Client

_BATCH_BYTES = 1024 * 1024
_BUFFER = 1024 * 1024
_UPLOAD_CHUNK = 8 * 1024 * 1024
_UPLOADS = 2  # at once; each holds a chunk in memory
_NAME_LENGTH = 20


@dataclass(slots=True)
class _Shard:
    start: int
    rows: int = 0
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


class RequestFiles:
    """Lines of requests, each file no larger than one job takes.

    A context manager. It needs as much room on disk as the requests take, in the folder that ``TMPDIR`` names. The file
    there has no name: nobody else can open it, and it is gone with the process, however that ends.

    :param max_rows: most lines of a file.
    :param max_bytes: most bytes of a file.
    """

    def __init__(self, *, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._file = tempfile.TemporaryFile("wb", buffering=0)  # noqa: SIM115 - closed by the context manager
        self._shards: list[_Shard] = []
        # Writing and digesting need no Python, so that both run beside what makes the next lines.
        self._writer = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown()
        self._file.close()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, each with its line end; see :meth:`write_column`."""
        import pyarrow as pa

        self.write_column(pa.array(lines, pa.binary()))

    def write_column(self, lines: pa.Array) -> None:
        """Append the lines of a column, each with its line end, while the caller goes on.

        Raises :class:`.InvalidRequestError` for a line that is larger than a file may be.
        """
        import numpy as np

        _, offsets, buffer = lines.buffers()
        begins = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1].tolist()
        first = 0
        while first < len(lines):
            if not self._shards:
                self._shards.append(_Shard(0))
            shard, begin = self._shards[-1], begins[first]
            most = min(len(lines), first + self._max_rows - shard.rows)
            stop = bisect_right(begins, begin + self._max_bytes - shard.size, first, most + 1) - 1
            content = memoryview(buffer)[begin : begins[max(stop, first + 1)]]
            if stop > first:
                self._append(shard, content, stop - first)
                first = stop
            elif shard.rows:
                self._shards.append(_Shard(shard.start + shard.size))
            else:
                raise InvalidRequestError(
                    f"a request of {len(content):,} bytes is larger than a file of requests may be "
                    f"({self._max_bytes:,}): {bytes(content[:100])!r}…"
                )

    def write_all(self, lines: Iterable[bytes], at_once: int = _BATCH_BYTES) -> None:
        """Append lines as they come, so many bytes at once, each with its line end; see :meth:`write`."""
        batch: list[bytes] = []
        size = 0
        for line in lines:
            batch.append(line)
            size += len(line)
            if size >= at_once:
                self.write(batch)
                batch, size = [], 0
        self.write(batch)

    def _append(self, shard: _Shard, content: memoryview, rows: int) -> None:
        shard.rows += rows
        shard.size += len(content)
        self._settle()
        self._pending = self._writer.submit(_put, self._file, shard.digest, content)

    def _settle(self) -> None:
        """Wait until all lines are in the file; raises what kept them from it."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self._shards)

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return sum(shard.size for shard in self._shards)

    def __len__(self) -> int:
        """Return the number of lines."""
        return sum(shard.rows for shard in self._shards)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines that were written, with their line ends."""
        self._settle()
        yield from io.BufferedReader(self._part(0, self.size), _BUFFER)

    def upload(self, client: Client, folder: GcsAddress, log: Log) -> list[str]:
        """Write the files to a folder on Cloud Storage and return their addresses.

        The name of each is the digest of its content, and one that is there already is kept as it is, so that the same
        requests are the same object of the same generation.

        Raises :class:`.InvalidRequestError` for a bucket that does not exist, and for an object of that name with
        another content.
        """
        self._settle()
        with ThreadPoolExecutor(_UPLOADS) as pool:
            return list(pool.map(lambda shard: self._upload(shard, client, folder, log), self._shards))

    def _part(self, start: int, size: int) -> _Part:
        return _Part(self._file.fileno(), start, size)

    def _upload(self, shard: _Shard, client: Client, folder: GcsAddress, log: Log) -> str:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        address = folder.child(f"{shard.digest.hexdigest()[:_NAME_LENGTH]}.jsonl")
        bucket = client.bucket(address.bucket)
        # Looked for first: a gigabyte is not sent to learn that it is there.
        existing = bucket.get_blob(address.path)
        if existing is None:
            blob = bucket.blob(address.path, chunk_size=_UPLOAD_CHUNK)
            try:
                blob.upload_from_file(
                    self._part(shard.start, shard.size),
                    size=shard.size,
                    content_type="application/x-ndjson",
                    if_generation_match=0,
                    checksum="crc32c",
                )
            except NotFound:
                raise InvalidRequestError(f"requests {folder}: the bucket does not exist") from None
            except PreconditionFailed:
                # Another try, or this one before its answer was lost, has written it meanwhile.
                existing = bucket.get_blob(address.path)
                if existing is None:
                    raise SourceNotReadyError(
                        f"{address} was deleted as soon as it was written: build it again"
                    ) from None
            else:
                log.info("wrote %s requests, %s bytes, to %s", shard.rows, shard.size, address)
        if existing is not None:
            if existing.size != shard.size:
                raise InvalidRequestError(
                    f"{address} holds {existing.size} bytes and not the {shard.size} that its name stands for: "
                    "somebody has overwritten it. Delete it, and clear this task"
                )
            log.info("%s holds these %s requests already", address, shard.rows)
        return str(address)


def _put(file: IO[bytes], digest: hashlib._Hash, content: memoryview) -> None:
    digest.update(content)
    while content:
        content = content[file.write(content) :]


class _Part(io.RawIOBase):
    """Some bytes of an open file, as a file of their own."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self._size = descriptor, start, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._position = (
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        )
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._position)]
        count = os.preadv(self._descriptor, [view], self._start + self._position)
        self._position += count
        return count

    def read(self, size: int = -1, /) -> bytes:
        # Inherited, it would make a copy of each chunk that is uploaded.
        left = max(0, self._size - self._position)
        content = os.pread(
            self._descriptor, left if size < 0 else min(size, left), self._start + self._position
        )
        self._position += len(content)
        return content
