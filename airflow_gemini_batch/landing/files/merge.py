"""Merging rows into a file that exists, by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_gemini_batch.landing.plan import newer_wins
from airflow_gemini_batch.sql.engine import identifier

Columns = Mapping[str, str]
"""BigQuery's types by name."""


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows that are in a file, or are to go there.

    :param query: SELECT statement for the rows.
    :param columns: their types, those of columns that only the file knows as DuckDB names them.
    """

    query: str
    columns: Columns


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

    @property
    def query(self) -> str:
        """The query for the merged rows, in the order of their keys."""
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
        return f"""SELECT {", ".join(selected)}
FROM ({self.new.query}) AS new
FULL JOIN (SELECT * FROM ({self.old.query}) AS old WHERE NOT ({self.gone})) AS old
  ON {same_key(self.key, "new", "old")}
ORDER BY {", ".join(map(identifier, self.key))}"""

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
