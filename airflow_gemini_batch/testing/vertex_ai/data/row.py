"""Rows between the data and the models: what is read, and what is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: BigQuery's name for its type, such as ``STRING`` or ``JSON``."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row of the input.

    :param content: the line, or the table row's columns that the model reads, decoded.
    :param columns: the table row's other columns, which pass through to the output, as JSON values.
    """

    content: dict[str, Any]
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputRow:
    """An answered row, in both forms that it may be written in.

    :param line: a line of a prediction file.
    :param cells: the columns that the model adds to a table.
    :param error: why the row failed, as google.rpc.Status; ``None`` when it did not.
    """

    line: dict[str, Any]
    cells: dict[str, Any]
    error: dict[str, Any] | None = None


class Source(Protocol):
    """An input that can be read more than once."""

    @property
    def columns(self) -> list[Column]:
        """The columns that come back in an output table; none for files."""

    def rows(self) -> Iterator[InputRow]:
        """Read all rows, in the order of the input.

        Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.JobError` when the input can't be imported.
        """


class Sink(Protocol):
    """A place that takes output rows, part by part."""

    @property
    def info(self) -> dict[str, str]:
        """The job's ``outputInfo``."""

    def shape(self, passed: dict[str, Any], answer: OutputRow) -> dict[str, Any]:
        """Return a row as it is written here.

        :param passed: columns of the input that pass through.
        """

    def write(self, rows: Iterator[dict[str, Any]], part: int, parts: int) -> None:
        """Write one part of all rows; parts are counted from 0."""
