"""Vectors on the worker's disk, aside from their rows.

DuckDB can't join and sort rows with vectors in constant memory; so there a row has the digest of its vector instead.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_gemini_batch.core.landing import LandingPlan
from airflow_gemini_batch.core.row_sources import FileKind

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PENDING = 4_000
_DIGEST_LENGTH = 32
_BUFFER = 1024 * 1024


def vectors_aside(
    plan: LandingPlan, database: DuckDBPyConnection, folder: Path, kind: FileKind
) -> AbstractContextManager[VectorFile | None]:
    """Return a file for the vectors of a landing; none where there are no vectors.

    :param kind: of the file that they land in. JSON Lines keep all digits; in Parquet 32 bits are as much as these
        models give.
    """
    if not plan.embeds:
        return nullcontext()
    return VectorFile(database, folder / "vectors", double=kind is FileKind.JSON_LINES)


class VectorFile:
    """A file of numbers, and the table ``vectors`` with the ``place`` (in bytes) of each ``digest``.

    :param double: whether numbers are kept as 64-bit floats, rather than 32-bit ones.
    """

    def __init__(self, database: DuckDBPyConnection, path: Path, *, double: bool) -> None:
        self._database = database
        self._path = path
        self.type_code = "d" if double else "f"
        self.item_size = struct.calcsize(self.type_code)
        self._size = 0
        self._pending: list[tuple[str, int]] = []
        database.execute("CREATE TEMP TABLE vectors (digest VARCHAR, place BIGINT)")

    def __enter__(self) -> Self:
        self._writer = self._path.open("wb", buffering=_BUFFER)
        self._reader = os.open(self._path, os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        os.close(self._reader)

    def add(self, values: Sequence[float]) -> str:
        """Append a vector and return its digest.

        Raises :class:`struct.error` for anything but numbers, and :class:`OverflowError` for one that is too large.
        """
        # A third of the time that array.array takes.
        return self.add_packed(struct.pack(f"{len(values)}{self.type_code}", *values))

    def add_packed(self, packed: bytes) -> str:
        """Append a vector that is in the file's own form."""
        digest = hashlib.sha256(packed).hexdigest()[:_DIGEST_LENGTH]
        self._writer.write(packed)
        self._pending.append((digest, self._size))
        self._size += len(packed)
        if len(self._pending) >= _PENDING:
            self._note()
        return digest

    def flush(self) -> None:
        """Make all vectors known to the table and to :meth:`gather`."""
        self._writer.flush()
        self._note()

    def gather(self, places: Sequence[int | None], size: int) -> bytes:
        """Return vectors one after the other; zeros where there is none.

        :param size: of each, in bytes.
        """
        nothing = bytes(size)
        return b"".join(nothing if place is None else os.pread(self._reader, size, place) for place in places)

    def _note(self) -> None:
        import pyarrow as pa

        if not self._pending:
            return
        digests, places = zip(*self._pending, strict=True)
        self._database.register("noted", pa.table({"digest": digests, "place": places}))
        self._database.execute("INSERT INTO vectors SELECT digest, place FROM noted")
        self._database.unregister("noted")
        self._pending.clear()
