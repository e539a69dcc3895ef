"""Rows that are to land in files, some at a time: memory does not grow with their number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.columns import STAGED_AS, TIMES_FAILED_COLUMN
from airflow_gemini_batch.landing.files.answers_sql import key_names
from airflow_gemini_batch.landing.files.formats import TargetFormat
from airflow_gemini_batch.landing.files.key_ranges import KeyRange, key_ranges
from airflow_gemini_batch.landing.files.merge import FileRows
from airflow_gemini_batch.landing.plan import LandingPlan, failed_columns, target_columns
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.sql.engine import identifier

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

TIME = "batch_processed_time"
STAGED = "gemini_batch_staged"
"""The rows of a portion, as a view of the database."""

PORTION_ROWS = 32_768
PORTION_BYTES = 4 * 1024 * 1024


@dataclass(slots=True)
class Portions(ABC):
    """Rows, a portion at a time.

    The columns of :data:`STAGED` are those of :func:`airflow_gemini_batch.landing.plan.staging_columns`, JSON as text,
    and perhaps others.
    """

    plan: LandingPlan
    database: DuckDBPyConnection
    folder: Path

    @property
    @abstractmethod
    def dimensions(self) -> int | None:
        """The length of the vectors; ``None`` if none lands."""

    @abstractmethod
    def portions(self, present: Sequence[FileRows] = ()) -> Iterator[KeyRange]:
        """Make :data:`STAGED` of a portion after the other and yield its keys.

        :param present: rows of targets; each of their keys is of one of the portions as well.
        """

    def answers(self, format_: TargetFormat) -> FileRows:
        """Return the good rows of a portion with the columns of a target."""
        return self._rows_of(target_columns(self.plan), {}, f"batch_outcome = '{Outcome.OK}'", format_)

    def failures(self, format_: TargetFormat) -> FileRows:
        """Return its other rows with the columns of a file of failures, but ``times_failed``."""
        types = failed_columns(self.plan)
        del types[TIMES_FAILED_COLUMN]
        return self._rows_of(types, STAGED_AS, f"batch_outcome != '{Outcome.OK}'", format_)

    def good_rows(self, format_: TargetFormat) -> pa.Table:
        """Return the rows of :meth:`answers` in the order of their keys."""
        order = ", ".join(map(identifier, self.plan.key))
        return self.database.sql(f"{self.answers(format_).query} ORDER BY {order}").to_arrow_table()

    def _rows_of(
        self, types: Mapping[str, str], staged_as: Mapping[str, str], condition: str, format_: TargetFormat
    ) -> FileRows:
        """Return rows with some columns.

        :param staged_as: names that columns have here, where these differ.
        """
        selected = (f"{identifier(staged_as.get(name, name))} AS {identifier(name)}" for name in types)
        return FileRows(
            f"SELECT {', '.join(selected)} FROM {STAGED} WHERE {condition}",
            {name: format_.landed_type(type_) for name, type_ in types.items()},
        )

    def _ranges(
        self, database: DuckDBPyConnection, keys: str, present: Sequence[FileRows], row_bytes: int
    ) -> list[KeyRange]:
        """Return the ranges of keys that are read at a time.

        :param keys: query for the keys of the new rows, as ``key_0``, ``key_1``, …
        :param row_bytes: what a row takes in memory, more or less.
        """
        columns = ", ".join(map(identifier, self.plan.key))
        all_keys = [keys, *(f"SELECT {columns} FROM ({rows.query})" for rows in present)]
        size = min(PORTION_ROWS, PORTION_BYTES // row_bytes)
        return key_ranges(database, " UNION ALL ".join(all_keys), key_names(self.plan), size)
