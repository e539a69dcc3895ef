"""A ledger in files: a folder with one JSON object for each run, on Cloud Storage or on a disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.disk.whole_file import WholeFile
from airflow_gemini_batch.ledger.record import RUN_LENGTH, RunRecord
from airflow_gemini_batch.ledger.store import asking, in_order, is_since, parsed

if TYPE_CHECKING:
    from google.cloud.storage import Client

_NAME = re.compile(rf"[0-9a-f]{{{RUN_LENGTH}}}\.json")
_READERS = 8
_CLOCK_SKEW = timedelta(days=1)
_CALL_TIMEOUT = 60.0


class Folder(Protocol):
    """A folder of small files, each of which is there as a whole or not at all."""

    def names(self, since: datetime | None) -> Iterator[str]:
        """Yield the names of its files; none where there is no folder.

        :param since: may leave out files that were written before.
        """

    def read(self, name: str) -> bytes | None:
        """Return what is in a file; ``None`` where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Make a file, or replace it."""


class FileLedger:
    """The records of runs in a folder. Each is a file of its own, so writers of other runs are never in the way.

    :param address: of the folder.
    """

    def __init__(self, address: str, folder: Folder) -> None:
        self.address = address
        self._folder = folder

    def exists(self) -> bool:
        """Whether there is a record; see :class:`.Ledger`."""
        with asking(self.address, "read"):
            return any(map(_NAME.fullmatch, self._folder.names(None)))

    def put(self, record: RunRecord) -> None:
        """Write the record of a run; see :class:`.Ledger`."""
        with asking(self.address, "written"):
            self._folder.write(f"{record.run}.json", orjson.dumps(record.to_json()))

    def find(self, run: str) -> RunRecord | None:
        """Return the record of a run; see :class:`.Ledger`."""
        with asking(self.address, "read"):
            content = self._folder.read(f"{run}.json")
        return None if content is None else parsed(content, f"{self.address}{run}.json")

    def records(self, since: datetime | None = None) -> list[RunRecord]:
        """Return the records; see :class:`.Ledger`. Files with other names are not the ledger's."""
        with asking(self.address, "read"):
            names = [name for name in self._folder.names(since) if _NAME.fullmatch(name)]
            with ThreadPoolExecutor(_READERS) as pool:
                found = list(pool.map(self._folder.read, names))
        contents = zip(names, found, strict=True)
        # One that is gone was removed meanwhile.
        records = [parsed(text, f"{self.address}{name}") for name, text in contents if text is not None]
        return in_order(record for record in records if is_since(record, since))


@dataclass(frozen=True, slots=True)
class StoredFolder:
    """A folder on Cloud Storage.

    :param client: makes the client of ``google-cloud-storage``.
    """

    address: GcsAddress
    client: Callable[[], Client]

    def names(self, since: datetime | None) -> Iterator[str]:
        """Yield the names of its objects; see :class:`Folder`."""
        prefix = f"{self.address.path.rstrip('/')}/" if self.address.path else ""
        blobs = self.client().list_blobs(
            self.address.bucket, prefix=prefix, delimiter="/", timeout=_CALL_TIMEOUT
        )
        for blob in blobs:
            # The storage's clock says when an object was written, and a worker's when something happened.
            if since is None or blob.updated >= since - _CLOCK_SKEW:
                yield blob.name.removeprefix(prefix)

    def read(self, name: str) -> bytes | None:
        """Return an object's content; see :class:`Folder`."""
        from google.api_core.exceptions import NotFound

        blob = self.client().bucket(self.address.bucket).blob(self.address.child(name).path)
        try:
            content: bytes = blob.download_as_bytes(timeout=_CALL_TIMEOUT)
        except NotFound:
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object; see :class:`Folder`."""
        from google.cloud.storage.retry import DEFAULT_RETRY

        blob = self.client().bucket(self.address.bucket).blob(self.address.child(name).path)
        # Writing the same again changes nothing, so that an answer which got lost is no reason to stop.
        blob.upload_from_string(
            content, content_type="application/json", timeout=_CALL_TIMEOUT, retry=DEFAULT_RETRY
        )


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder on a disk."""

    path: Path

    def names(self, since: datetime | None) -> Iterator[str]:
        """Yield the names of its files; see :class:`Folder`."""
        try:
            yield from (path.name for path in self.path.iterdir())
        except FileNotFoundError:
            return

    def read(self, name: str) -> bytes | None:
        """Return a file's content; see :class:`Folder`."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file; see :class:`Folder`."""
        with WholeFile(self.path / name).writing() as file:
            file.write(content)
