"""DuckDB for data that is larger than memory, and how names stand in its statements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


VECTOR = "VECTOR"
"""Type of a column of rows whose vectors are kept aside; each row has the digest of its own."""
