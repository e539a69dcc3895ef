"""The worker's disk: DuckDB for data that is larger than memory, and Parquet files that lines are spooled to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow_gemini_batch.disk.private_folder import make_private

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_MEMORY = "256MB"

PARQUET_OPTIONS = "FORMAT parquet, ROW_GROUP_SIZE 20480"
"""Options of COPY for a file; of larger groups too few fit into memory."""


def connect(folder: Path) -> DuckDBPyConnection:
    """Return a database that keeps to 256 MB of memory and spills to the folder."""
    import duckdb

    database = duckdb.connect(
        config={
            "memory_limit": _MEMORY,
            # A second one takes more memory for its buffers, and hardly less time for what is sorted.
            "threads": 1,
            "temp_directory": str(folder / "spilled"),
            "preserve_insertion_order": False,
            # What is needed is built in; nothing is downloaded.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    database.execute("SET TimeZone = 'UTC'")
    return database


def identifier(name: str) -> str:
    """Return a column's name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def literal(path: Path) -> str:
    """Return a path as it stands in a statement."""
    return "'" + str(path).replace("'", "''") + "'"


def copy_rows(database: DuckDBPyConnection, query: str, path: Path, options: str) -> None:
    """Write the rows of a query to a file of this user alone.

    :param options: of COPY.
    """
    # DuckDB would write to a file of another name, which all can read.
    target = literal(make_private(path))
    database.execute(f"COPY ({query}) TO {target} ({options}, USE_TMP_FILE false)")


VECTOR = "VECTOR"
"""Type of a column of rows whose vectors are kept aside; each row has the digest of its own."""

# What is held in memory at a time: the rows of so many lines, or of lines of so many bytes.
MOST_LINES = 4_000
MOST_BYTES = 32 * 1024 * 1024

_Row = TypeVar("_Row")


def read_in_batches(
    lines: Iterable[bytes],
    read: Callable[[bytes], _Row | None],
    *,
    most_lines: int = MOST_LINES,
    most_bytes: int = MOST_BYTES,
) -> Iterator[tuple[list[_Row], int]]:
    """Yield the rows of some lines at a time, and how many of these lines can't be read."""
    rows: list[_Row] = []
    count = size = 0
    # Each line is read while the processor has it at hand, and then forgotten.
    for line in lines:
        if (row := read(line)) is not None:
            rows.append(row)
        count += 1
        size += len(line)
        if size >= most_bytes or count >= most_lines:
            yield rows, count - len(rows)
            rows, count, size = [], 0, 0
    yield rows, count - len(rows)


class ParquetFile:
    """A file that rows are appended to."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        from pyarrow.parquet import ParquetWriter

        self._schema = schema
        self._writer = ParquetWriter(make_private(path), schema, compression="lz4", use_dictionary=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, constants: Sequence[Any], rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows; the constants are the first columns of each."""
        import pyarrow as pa

        if not rows:
            return
        first, others = self._schema.types[: len(constants)], self._schema.types[len(constants) :]
        columns = [
            pa.repeat(pa.scalar(value, kind), len(rows)) for value, kind in zip(constants, first, strict=True)
        ]
        columns += map(_array, zip(*rows, strict=True), others)
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))


def _array(column: tuple[Any, ...], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    first = column[0]
    # Most columns beside the answer hold one value over and over, which takes a tenth of the time to tell.
    if column.count(first) == len(column):
        return pa.repeat(pa.scalar(first, kind), len(column))
    return pa.array(column, kind)
