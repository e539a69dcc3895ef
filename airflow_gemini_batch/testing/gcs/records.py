"""What the local Cloud Storage server keeps of a bucket and of an object."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import google_crc32c

from airflow_gemini_batch.testing.gcs.errors import StorageError

if TYPE_CHECKING:
    from pathlib import Path

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_BLOCK = 1 << 20


class ObjectKey(NamedTuple):
    """Where an object is."""

    bucket: str
    name: str


@dataclass(frozen=True)
class Bucket:
    """A bucket.

    :param created: time as RFC 3339 text, as is ``updated``.
    :param fields: its other properties as the JSON API names them; ``location`` is always among them.
    """

    name: str
    metageneration: int
    created: str
    updated: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """Size in bytes and base64 checksums of a content.

    :param components: how many uploads a composed object is made of, None for an uploaded one. As on the
        service, composed content has no MD5.
    """

    size: int
    crc32c: str
    md5: str | None
    components: int | None = None


@dataclass(frozen=True)
class StoredObject:
    """The live version of an object.

    :param created: time as RFC 3339 text, as is ``updated``.
    :param fields: the properties that a client may set, as the JSON API names them.
    """

    key: ObjectKey
    generation: int
    metageneration: int
    content: Content
    created: str
    updated: str
    fields: dict[str, Any]

    @property
    def name(self) -> str:
        """The name within the bucket."""
        return self.key.name


def measure(path: Path) -> Content:
    """Size and checksums of a file, read block by block."""
    md5, crc32c, size = hashlib.md5(usedforsecurity=False), 0, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            md5.update(block)
            crc32c = google_crc32c.extend(crc32c, block)
            size += len(block)
    return Content(
        size=size,
        crc32c=base64.b64encode(crc32c.to_bytes(4, "big")).decode(),
        md5=base64.b64encode(md5.digest()).decode(),
    )


def timestamp() -> str:
    """Return the time now, as the service writes it: ``2026-01-31T12:00:00.000Z``."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_bucket_name(name: str) -> None:
    """Refuse a name that no bucket can have.

    :raises StorageError: 400.
    """
    if not _BUCKET_NAME.fullmatch(name) or (len(name) > 63 and "." not in name):
        raise StorageError.invalid(
            f"Invalid bucket name: {name!r}. Use 3 to 63 of a-z, 0-9, '-', '_' and '.', with a letter or a "
            "digit at both ends"
        )


def check_object_name(name: str) -> None:
    """Refuse a name that no object can have; slashes, dots and every script are fine.

    :raises StorageError: 400.
    """
    if not name or name in (".", "..") or "\n" in name or "\r" in name or len(name.encode()) > 1024:
        raise StorageError.invalid(
            f"Invalid object name: {name[:80]!r}. It needs 1 to 1024 bytes of UTF-8 without line breaks, and "
            "cannot be '.' or '..'"
        )
