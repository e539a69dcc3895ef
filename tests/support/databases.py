"""One database of the package for all tests of a process: starting DuckDB takes longer than most statements."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.outputs.line_sql import database_of_lines

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def shared_database() -> DuckDBPyConnection:
    """Return a connection with temporary tables of its own."""
    return _database().cursor()


@cache
def _database() -> DuckDBPyConnection:
    return database_of_lines(Path(os.environ["AIRFLOW_HOME"]))
