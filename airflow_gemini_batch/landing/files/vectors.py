"""Vectors on their way, and the column that they land in."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class VectorFile:
    """Vectors on disk; each row has the place of its vector: how many numbers stand before it.

    Sorting rows with their vectors takes several times as long.

    :param path: of the vectors.
    :param column: of the rows.
    :param type_: DuckDB's type of the numbers on disk.
    """

    path: Path
    column: str
    type_: str
    _numbers: int = field(default=0, init=False)

    def take(self, rows: pa.Table) -> pa.Table:
        """Write the vectors of rows, and return the rows with their places."""
        import pyarrow as pa

        index = rows.schema.get_field_index(self.column)
        schema = rows.schema.set(index, pa.field(self.column, pa.int64()))
        with self.path.open("ab") as file:
            places = [self._append(some, file) for some in rows.to_batches() if len(some)]
        return rows.set_column(index, schema.field(index), pa.chunked_array(places, pa.int64()))

    def _append(self, rows: pa.RecordBatch, file: BinaryIO) -> pa.Array:
        """Write the vectors of rows and return their places; NULL for rows that are not ok."""
        import pyarrow as pa
        import pyarrow.compute as pc

        vectors = rows[self.column]
        numbers = vectors.flatten().cast(self._type, safe=False)
        size = self._type.bit_width // 8
        file.write(memoryview(numbers.buffers()[1])[numbers.offset * size :][: len(numbers) * size])
        lengths = pc.fill_null(pc.list_value_length(vectors), 0).cast(pa.int64())
        places = pc.subtract(pc.cumulative_sum(lengths, start=self._numbers), lengths)
        self._numbers += len(numbers)
        return pc.if_else(pc.equal(rows["outcome"], str(Outcome.OK)), places, None)

    @property
    def _type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.float32() if self.type_ == "FLOAT" else pa.float64()

    @property
    def size(self) -> int:
        """Bytes of all vectors."""
        return self.path.stat().st_size

    def read(self, places: pa.ChunkedArray, length: int) -> pa.Array:
        """Return the vectors at some places, NULL for NULL.

        :param length: of each of them.
        """
        import pyarrow as pa

        size = self._type.bit_width // 8
        wanted = places.to_pylist()
        found = []
        if places.null_count < len(wanted):
            # Mapped into memory, each place would bring what is around it.
            with self.path.open("rb") as file:
                found = [
                    os.pread(file.fileno(), length * size, place * size)
                    for place in wanted
                    if place is not None
                ]
        numbers = pa.Array.from_buffers(
            self._type, len(found) * length, [None, pa.py_buffer(b"".join(found))]
        )
        ends = iter(range(0, len(numbers) + 1, length or 1))
        offsets = [None if place is None else next(ends) for place in wanted]
        return pa.ListArray.from_arrays(pa.array([*offsets, len(numbers)], pa.int32()), numbers)


def without_null(vectors: pa.ListArray) -> pa.ListArray:
    """Return the vectors of :meth:`VectorFile.read` that are not NULL; the numbers are not copied."""
    import pyarrow as pa

    numbers, count = vectors.values, len(vectors) - vectors.null_count
    length = len(numbers) // (count or 1)
    return pa.ListArray.from_arrays(pa.array(range(0, len(numbers) + 1, length or 1), pa.int32()), numbers)


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


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """The column of a file that vectors land in.

    :param where: the file, for messages.
    :param dimensions: the length of those that land.
    """

    name: str
    where: str
    dimensions: int

    def check(self, rows: pa.Table) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for vectors of another length."""
        import pyarrow.compute as pc

        for length in pc.unique(pc.list_value_length(rows[self.name])).drop_null().to_pylist():
            if length != self.dimensions:
                raise other_length(self.where, self.dimensions, length)

    def of_fixed_size(self, rows: pa.Table) -> pa.Table:
        """Return rows with vectors as lists of fixed size of 32-bit floats; raises what :meth:`check` raises."""
        import pyarrow as pa

        self.check(rows)
        type_ = pa.list_(pa.float32(), self.dimensions)
        index = rows.schema.get_field_index(self.name)
        return rows.set_column(index, pa.field(self.name, type_), rows[self.name].cast(type_))
