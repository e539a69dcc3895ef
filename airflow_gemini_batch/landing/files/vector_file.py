"""Vectors on the worker's disk, beside the rows that they belong to.

A vector is some hundred times as long as the rest of its row, so matching and sorting rows is done without them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.sql.engine import arrow_batches

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_BATCH_ROWS = 2_048


class VectorFile:
    """A file with the numbers of vectors, one after the other, and nothing else.

    :param column: of rows, where the vectors stand.
    :param type_: DuckDB's type of a number, ``FLOAT`` or ``DOUBLE``.
    """

    def __init__(self, path: Path, column: str, type_: str) -> None:
        import pyarrow as pa

        self._path = path
        self._column = column
        self._type = pa.float32() if type_ == "FLOAT" else pa.float64()
        self._item_size = self._type.bit_width // 8
        self._size = 0
        self._files = ExitStack()

    def __enter__(self) -> Self:
        self._writer = self._files.enter_context(make_private(self._path).open("wb", buffering=0))
        self._reader = os.open(self._path, os.O_RDONLY)
        self._files.callback(os.close, self._reader)
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write_rows(self, database: DuckDBPyConnection, query: str, path: Path) -> None:
        """Write the rows of a query to a Parquet file, with the place of each vector in place of the vector."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        reader = arrow_batches(database, query, _BATCH_ROWS)
        index = reader.schema.get_field_index(self._column)
        schema = reader.schema.set(index, pa.field(self._column, pa.int64()))
        with ParquetWriter(make_private(path), schema, compression="lz4", use_dictionary=False) as writer:
            for batch in reader:
                writer.write_batch(
                    batch.set_column(index, schema.field(index), self._add(batch.column(index)))
                )

    def with_vectors(self, rows: pa.Table, dimensions: int) -> pa.Table:
        """Return rows with vectors, as lists, instead of their places.

        :param dimensions: of each.
        """
        import pyarrow as pa

        index = rows.schema.get_field_index(self._column)
        places, size = rows.column(index).combine_chunks(), dimensions * self._item_size
        packed = b"".join(os.pread(self._reader, size, place) for place in places.drop_null().to_pylist())
        numbers = pa.Array.from_buffers(
            self._type, len(packed) // self._item_size, [None, pa.py_buffer(packed)]
        )
        lengths = pa.compute.if_else(places.is_valid(), dimensions, 0)
        ends = pa.compute.cumulative_sum(lengths)
        offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())
        vectors = pa.ListArray.from_arrays(offsets, numbers, mask=places.is_null())
        return rows.set_column(index, self._column, vectors)

    def _add(self, vectors: pa.Array) -> pa.Array:
        """Append the vectors of a column, and return their places, in bytes."""
        import pyarrow as pa
        import pyarrow.compute as pc

        # What is too large becomes infinite; such vectors do not land.
        numbers = vectors.flatten().cast(self._type, safe=False)
        start = numbers.offset * self._item_size
        if len(numbers):
            self._writer.write(
                memoryview(numbers.buffers()[1])[start : start + len(numbers) * self._item_size]
            )
        lengths = pc.list_value_length(vectors).cast(pa.int64())
        ends = pc.cumulative_sum(pc.fill_null(lengths, 0))
        places = pc.add(pc.multiply(pc.subtract(ends, lengths), self._item_size), self._size)
        self._size += len(numbers) * self._item_size
        return places
