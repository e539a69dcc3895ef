"""DuckDB on the worker's disk: the engine for rows in files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyarrow import RecordBatchReader

_MEMORY_MB = 256

JSON_BYTES = 2 * 1024 * 1024
"""Bytes of the rows that a statement reads at a time which looks into JSON: see :func:`room_for`."""


def connect(folder: Path) -> DuckDBPyConnection:
    """Return a database that keeps to 256 MB of memory and spills to the folder.

    A statement is run by the thread that asks for it alone, so that rows which are only read and filtered keep their
    order; other threads ask by a ``cursor()`` of their own.

    It knows the functions that :data:`airflow_gemini_batch.sql.dialect.DUCKDB` writes.
    """
    import duckdb

    database = duckdb.connect(
        config={
            "memory_limit": f"{_MEMORY_MB}MB",
            "threads": 1,
            "temp_directory": str(folder / "spilled"),
            "preserve_insertion_order": False,
            # What is freed goes back to the system, unless it is little.
            "allocator_flush_threshold": "32MB",
            "allocator_bulk_deallocation_flush_threshold": "32MB",
            # What is needed is built in; nothing is downloaded.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    database.execute("SET GLOBAL TimeZone = 'UTC'")  # also of cursors
    for name, function, *types in (
        ("json_text", _json_text, "VARCHAR", "VARCHAR"),
        ("strict_json", _strict_json, "VARCHAR", "VARCHAR"),
        ("json_numbers", _json_numbers, "DOUBLE[]", "VARCHAR", "BIGINT", "DOUBLE"),
    ):
        database.create_function(
            f"gemini_batch_{name}", function, types[1:], types[0], null_handling="special"
        )
    return database


@contextmanager
def room_for(database: DuckDBPyConnection, size: int) -> Iterator[None]:
    """Let a statement use more memory for rows of so many bytes.

    Each function that reads texts makes others of them, and all are held at a time: some twenty. DuckDB counts five
    times as much.
    """
    database.execute(f"SET memory_limit = '{_MEMORY_MB + 100 * size // 10**6}MB'")
    try:
        yield
    finally:
        database.execute(f"SET memory_limit = '{_MEMORY_MB}MB'")


def _json_text(value: str | None) -> str | None:
    """Write a JSON value as BigQuery does: the names of objects sorted."""
    if value is None:
        return None
    try:
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONDecodeError:
        return value


def _strict_json(text: str | None) -> str | None:
    """Return a text if it is JSON; DuckDB takes NaN, commas at the end and 1e400 as well."""
    if text is None:
        return None
    try:
        return orjson.dumps(orjson.loads(text)).decode()
    except orjson.JSONDecodeError:
        return None


def _json_numbers(text: str | None, most: int | None, below: float) -> list[float | None]:
    """Return the numbers of a JSON list: see :meth:`airflow_gemini_batch.sql.dialect.Dialect.json_numbers`."""
    items = json.loads(text or "null")
    return [
        float(item) if type(item) in (int, float) and abs(item) < below else None
        for item in (items if isinstance(items, list) else [])[:most]
    ]


def identifier(name: str) -> str:
    """Return a column's name as it stands in a statement."""
    return DUCKDB.name(name)


def text_literal(text: str) -> str:
    """Return a text as it stands in a statement."""
    return Literals().bind(text)


def literal(path: Path) -> str:
    """Return a path as it stands in a statement."""
    return text_literal(str(path))


def arrow_rows(database: DuckDBPyConnection, query: str, rows: int) -> RecordBatchReader:
    """Return the rows of a query, which is run while they are read, some at a time."""
    relation = database.sql(query)
    # Releases of DuckDB differ in the name.
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    reader: RecordBatchReader = read(rows)
    return reader


def parquet_rows(paths: Sequence[Path]) -> str:
    """Return Parquet files of the same columns as they stand behind FROM."""
    return f"read_parquet([{', '.join(map(literal, paths))}])"


def copy_rows(database: DuckDBPyConnection, query: str, path: Path, options: str) -> int:
    """Write the rows of a query to a file of this user alone, and return how many there are.

    :param options: of COPY.
    """
    # DuckDB would write to a file of another name, which all can read.
    target = literal(make_private(path))
    ((count,),) = database.execute(f"COPY ({query}) TO {target} ({options}, USE_TMP_FILE false)").fetchall()
    return int(count)
