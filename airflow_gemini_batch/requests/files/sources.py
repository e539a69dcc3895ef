"""Files with rows, on Cloud Storage or on the worker's disk: found by address or pattern, opened as a stream."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.requests.sources import FileRows

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

_CHUNK = 4 * 1024 * 1024
_BUFFER = 1024 * 1024
_GZIP_MARK = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file.

    :param name: for messages.
    :param open: opens its bytes; they can be read from any offset.
    """

    name: str
    open: Callable[[], BinaryIO]

    @contextmanager
    def plain(self) -> Iterator[io.BufferedReader[Any]]:
        """Open the file's content as a stream, unpacked when it is compressed with gzip, whatever its name.

        What can't be unpacked raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when it is read.
        """
        with self.open() as raw:
            stream = io.BufferedReader(cast("io.RawIOBase", raw), _BUFFER)
            try:
                begin = stream.peek(len(_GZIP_MARK))
                if not begin and self.name.endswith(".gz"):
                    raise EOFError("it holds nothing")
                if begin.startswith(_GZIP_MARK):
                    unpacked = gzip.GzipFile(fileobj=stream)
                    stream = io.BufferedReader(cast("io.RawIOBase", unpacked), _BUFFER)
                yield stream
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise InvalidRequestError(
                    f"{self.name}: the gzip file is cut off or damaged ({error}). Write or copy it again; "
                    "gzip -t checks it"
                ) from error


def find_files(source: FileRows, client: Client) -> list[SourceFile]:
    """Return the files that a source names, each once.

    :param client: of ``google-cloud-storage``; asked for ``gs://`` addresses only.

    Raises :class:`.SourceNotReadyError` for an address or pattern that names none.
    """
    by_name: dict[str, SourceFile] = {}
    for path in source.paths:
        openers = _objects(path, client) if isinstance(path, GcsAddress) else _local_files(path)
        by_name |= {name: SourceFile(shown(name), opener) for name, opener in openers.items()}
    return list(by_name.values())


def _objects(address: GcsAddress, client: Client) -> dict[str, Callable[[], BinaryIO]]:
    blobs = StorageObjects(client).objects([address])
    return {f"gs://{blob.bucket.name}/{blob.name}": partial(_open_object, blob) for blob in blobs}


def _open_object(blob: Blob) -> BinaryIO:
    # The generation is pinned: an object replaced meanwhile ends in an error, not in a mix of two. Raw, because
    # the service can't give a part of what it unpacks itself.
    options: dict[str, Any] = {"if_generation_match": blob.generation, "raw_download": True}
    return cast("BinaryIO", blob.open("rb", chunk_size=_CHUNK, **options))


def _local_files(path: str) -> dict[str, Callable[[], BinaryIO]]:
    # A name may hold the characters of a pattern.
    names = [path] if Path(path).is_file() else sorted(glob(path, recursive=True))
    files = [name for name in names if Path(name).is_file()]
    if not files:
        raise SourceNotReadyError(
            f"source {path}: there is no such file on this worker, and no file matches it as a pattern"
        )
    return {name: partial(io.FileIO, name) for name in files}
