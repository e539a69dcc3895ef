"""Merging rows into a file that exists, by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.landing.files.database import (
    PARQUET_OPTIONS,
    VECTOR,
    copy_rows,
    identifier,
    literal,
)
from airflow_gemini_batch.landing.plan import newer_wins

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Columns = Mapping[str, str]
"""BigQuery's types by name."""

DUCKDB_TYPES = {
    "STRING": "VARCHAR",
    "JSON": "VARCHAR",
    "INT64": "BIGINT",
    "FLOAT64": "DOUBLE",
    "BOOL": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMP WITH TIME ZONE",
    VECTOR: "VARCHAR",
}


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows that are in a file, or are to go there.

    :param query: SELECT statement for the rows.
    :param columns: their types, those of columns that only the file knows as DuckDB names them.
    """

    query: str
    columns: Columns

    def kept(self, database: DuckDBPyConnection, path: Path) -> FileRows:
        """Return the rows as they are now, written to a Parquet file.

        What reads them then needs no memory for finding them.
        """
        copy_rows(database, self.query, path, f"{PARQUET_OPTIONS}, COMPRESSION lz4")
        return FileRows(f"SELECT * FROM read_parquet({literal(path)})", self.columns)


@dataclass(frozen=True, slots=True)
class Merge:
    """New rows and old ones, one of each key.

    New rows take the place of old ones of the same key unless these are newer; columns that only the old rows have
    keep their values.

    :param key: columns that identify the rows; never NULL in new rows.
    :param time: column with the time of a row; ``None`` if the new rows always win.
    :param gone: condition on ``old`` for rows that are to go.
    """

    new: FileRows
    old: FileRows
    key: Sequence[str]
    time: str | None = None
    gone: str = "FALSE"

    @property
    def columns(self) -> Columns:
        """The columns of both, those of the old rows first."""
        present = {name.lower() for name in self.old.columns}
        added = {name: kind for name, kind in self.new.columns.items() if name.lower() not in present}
        return {**self.old.columns, **added}

    def changes(self, database: DuckDBPyConnection) -> bool:
        """Whether the merged rows are others than the old ones."""
        if len(self.columns) > len(self.old.columns):
            return True
        names = [name for name in self.new.columns if name not in self.key]
        new, old = (", ".join(f"{side}.{identifier(name)}" for name in names) for side in ("new", "old"))
        statement = f"""SELECT
  EXISTS (
    SELECT 1 FROM ({self.new.query}) AS new LEFT JOIN ({self.old.query}) AS old ON {same_key(self.key, "new", "old")}
    WHERE {self._wins} AND (old.{identifier(self.key[0])} IS NULL OR ROW({new}) IS DISTINCT FROM ROW({old}))
  )
  OR EXISTS (SELECT 1 FROM ({self.old.query}) AS old WHERE {self.gone})"""
        ((changes,),) = database.execute(statement).fetchall()
        return bool(changes)

    @property
    def rows(self) -> FileRows:
        """The merged rows."""
        in_new = {name.lower() for name in self.new.columns}
        in_old = {name.lower() for name in self.old.columns}
        keys = {name.lower() for name in self.key}
        selected = []
        for name in self.columns:
            column = identifier(name)
            if name.lower() in keys:
                value = f"COALESCE(new.{column}, old.{column})"
            elif name.lower() not in in_new:
                value = f"old.{column}"
            else:
                present = f"old.{column}" if name.lower() in in_old else "NULL"
                value = f"CASE WHEN {self._wins} THEN new.{column} ELSE {present} END"
            selected.append(f"{value} AS {column}")
        query = f"""SELECT {", ".join(selected)}
FROM ({self.new.query}) AS new
FULL JOIN (SELECT * FROM ({self.old.query}) AS old WHERE NOT ({self.gone})) AS old
  ON {same_key(self.key, "new", "old")}"""
        return FileRows(query, self.columns)

    @property
    def _wins(self) -> str:
        wins = f"new.{identifier(self.key[0])} IS NOT NULL"
        if self.time is None or self.time.lower() not in {name.lower() for name in self.old.columns}:
            return wins
        time = identifier(self.time)
        return f"({wins} AND {newer_wins(f'new.{time}', f'old.{time}')})"


def same_key(key: Sequence[str], left: str, right: str) -> str:
    """Return the condition that two rows have the same key."""
    return " AND ".join(f"{left}.{identifier(name)} = {right}.{identifier(name)}" for name in key)
