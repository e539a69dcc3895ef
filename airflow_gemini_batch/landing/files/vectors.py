"""Vectors that land: what is said of their lengths, and their rows without them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.files.database import VECTOR, identifier
from airflow_gemini_batch.landing.files.merge import FileRows
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.embeddings import DIMENSIONS

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection


def warn_of_shortened(log: Log, plan: LandingPlan, count: int) -> None:
    """Warn if vectors were cut."""
    if count:
        log.warning(
            "%d vectors had more than the %s dimensions asked for: they were cut and normalised again",
            count,
            plan.dimensions,
        )


def other_length(target: str, staged: int, landed: int) -> InvalidRequestError:
    """Return the error for vectors that a target can't take beside those that it has."""
    return InvalidRequestError(
        f"the vectors have {staged} dimensions, and those in {target} have {landed}, so they can't be compared: name "
        f"another target, or set output_dimensionality to {landed} in all tasks of the pipeline. Nothing was landed."
    )


def without_vectors(plan: LandingPlan) -> LandingPlan:
    """Return the plan for rows that have digests of their vectors: see ``vector_file``."""
    columns = (
        AnswerColumn(column.name, VECTOR, path=column.path) if column.path == "values" else column
        for column in plan.columns
    )
    return dataclasses.replace(plan, columns=tuple(columns)) if plan.embeds else plan


def of_one_length(database: DuckDBPyConnection, plan: LandingPlan, rows: str) -> str:
    """Return the query for spooled answers in which vectors are invalid that are not as long as most are."""
    if not plan.embeds or plan.dimensions is not None:
        return rows
    length = f"value_{[column.path for column in plan.columns].index('dimensions')}"
    lengths = database.execute(
        f"SELECT {length} FROM ({rows}) WHERE outcome = '{Outcome.OK}' GROUP BY 1 ORDER BY COUNT(*) DESC, 1 DESC"
    ).fetchall()
    if len(lengths) < 2:
        return rows
    ((usual,), *_) = lengths
    odd = f"outcome = '{Outcome.OK}' AND {length} != {usual}"
    values = [f"IF({odd}, NULL, value_{index}) AS value_{index}" for index in range(len(plan.columns))]
    message = f"CONCAT('the vector has ', {length}, ' dimensions, not the {usual} of most')"
    return f"""SELECT * REPLACE (
  IF({odd}, '{Outcome.INVALID}', outcome) AS outcome,
  IF({odd}, {message}, message) AS message,
  IF({odd}, FALSE, shortened) AS shortened,
  {", ".join(values)}
) FROM ({rows})"""


_PENDING = 4_000
_DIGEST_LENGTH = 32
_BUFFER = 1024 * 1024


class VectorFile:
    """A file of numbers, and the table ``vectors`` with the ``position`` (in bytes) of each ``digest``.

    :param type_code: of :mod:`struct`, for one number.
    """

    def __init__(self, database: DuckDBPyConnection, path: Path, type_code: str) -> None:
        self._database = database
        self._path = path
        self.type_code = type_code
        self.item_size = struct.calcsize(type_code)
        self._size = 0
        self._pending: list[tuple[str, int]] = []
        database.execute("CREATE TEMP TABLE vectors (digest VARCHAR, position BIGINT)")

    def __enter__(self) -> Self:
        self._writer = make_private(self._path).open("wb", buffering=_BUFFER)
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

    def gather(self, positions: Sequence[int | None], size: int) -> bytes:
        """Return vectors one after the other; zeros where there is none.

        :param size: of each, in bytes.
        """
        nothing = bytes(size)
        return b"".join(
            nothing if position is None else os.pread(self._reader, size, position) for position in positions
        )

    def _note(self) -> None:
        import pyarrow as pa

        if not self._pending:
            return
        digests, positions = zip(*self._pending, strict=True)
        self._database.register("noted", pa.table({"digest": digests, "position": positions}))
        self._database.execute("INSERT INTO vectors SELECT digest, position FROM noted")
        self._database.unregister("noted")
        self._pending.clear()


@dataclass(slots=True)
class VectorColumn:
    """The column that vectors land in.

    :param dimensions: length of the vectors; ``None`` while there is none.
    """

    name: str
    dimensions: int | None
    vectors: VectorFile

    def add(self, values: Sequence[float], where: str) -> str:
        """Put a vector aside and return its digest; raises what :meth:`VectorFile.add` and :meth:`digests` raise."""
        digest = self.vectors.add(values)
        self._check(len(values), where)
        return digest

    def digests(self, column: pa.Array, where: str) -> pa.Array:
        """Put the vectors of a column aside and return their digests.

        :param where: the file, for messages.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for vectors of another length.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        for length in pc.unique(pc.list_value_length(column).drop_null()).to_pylist():
            self._check(length, where)
        numbers = column.flatten().cast(self.item_type)
        start = numbers.offset * self.vectors.item_size
        packed = memoryview(numbers.buffers()[1])[start:] if len(numbers) else memoryview(b"")
        digests = []
        for valid in column.is_valid().to_pylist():
            digests.append(self.vectors.add_packed(bytes(packed[: self._size])) if valid else None)
            packed = packed[self._size :] if valid else packed
        return pa.array(digests, pa.string())

    def placed_query(self, rows: FileRows, values: Mapping[str, str]) -> str:
        """Return the query for rows that have the positions of vectors in place of their digests.

        :param values: items of a SELECT by column.
        """
        self.vectors.flush()
        name = identifier(self.name)
        selected = {**values, self.name: f"positions.position AS {name}"}
        return f"""SELECT {", ".join(selected.values())} FROM ({rows.query}) AS rows
LEFT JOIN (SELECT digest, MIN(position) AS position FROM vectors GROUP BY digest) AS positions
  ON rows.{name} = positions.digest"""

    def arrays(self, positions: pa.Array) -> pa.Array:
        """Return the vectors at some positions as lists of fixed size."""
        import pyarrow as pa

        packed = pa.py_buffer(self.vectors.gather(positions.to_pylist(), self._size))
        numbers = pa.Array.from_buffers(self.item_type, packed.size // self.vectors.item_size, [None, packed])
        mask = positions.is_null() if positions.null_count else None
        return pa.FixedSizeListArray.from_arrays(numbers, self.dimensions, mask=mask)

    def values(self, position: int) -> list[float]:
        """Return the vector at a position."""
        packed = self.vectors.gather([position], self._size)
        return list(struct.unpack(f"{self.dimensions}{self.vectors.type_code}", packed))

    @property
    def item_type(self) -> pa.DataType:
        """The type of a vector's numbers."""
        import pyarrow as pa

        return pa.float64() if self.vectors.type_code == "d" else pa.float32()

    @property
    def _size(self) -> int:
        return (self.dimensions or 0) * self.vectors.item_size

    def _check(self, length: int, where: str) -> None:
        if self.dimensions is None:
            self.dimensions = length
        if length != self.dimensions:
            raise other_length(where, self.dimensions, length)


def vector_column(
    plan: LandingPlan, database: DuckDBPyConnection, staged: str, vectors: VectorFile
) -> VectorColumn:
    """Return the column that vectors land in.

    :param plan: for rows without vectors.
    :param staged: these rows, as they stand in a statement.
    """
    (name,) = (column.name for column in plan.columns if column.type == VECTOR)
    ((dimensions,),) = database.execute(f"SELECT MAX({identifier(DIMENSIONS)}) FROM {staged}").fetchall()
    return VectorColumn(name, dimensions, vectors)
