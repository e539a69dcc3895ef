"""Rows for requests: those of files in CSV, JSON Lines or Parquet, or what a Python iterable gives, as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.columns import rows_of
from airflow_gemini_batch.requests.files import arrow, csv_rows, json_rows, parquet
from airflow_gemini_batch.requests.files.json_rows import SAMPLE_ROWS
from airflow_gemini_batch.requests.files.pieces import Piece, Row, pieces_of, size_of
from airflow_gemini_batch.requests.files.sources import find_files
from airflow_gemini_batch.requests.sources import ArrowTable, FileKind, FileRows, PythonRows, is_arrow

if TYPE_CHECKING:
    from google.cloud.storage import Client

_SAMPLE_BYTES = 64 * 2**20

# Each has ``columns(file)``, the names, ``None`` for a file without rows or header, and ``pieces(file, columns)``, the
# rows with at least these columns. For what can't be read they raise InvalidRequestError, which names file and line.
_FORMATS = {
    FileKind.CSV: csv_rows,
    FileKind.JSON_LINES: json_rows,
    FileKind.PARQUET: parquet,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are read once, in constant memory.

    :param where: the source, for messages.
    :param columns: names of the columns, as far as the first rows have them; ``None`` when there are no rows.
    :param pieces: the rows.
    """

    where: str
    columns: tuple[str, ...] | None
    pieces: Iterator[Piece]

    @property
    def rows(self) -> Iterator[Row]:
        """The rows, one by one; a column that one lacks is NULL."""
        return chain.from_iterable(rows_of(piece.read()) for piece in self.pieces)


def read_rows(source: FileRows, columns: Sequence[str], client: Client) -> Rows:
    """Return the rows of files.

    :param columns: those that are needed; others may be left out.
    :param client: of ``google-cloud-storage``; asked for ``gs://`` addresses only.

    Raises :class:`.SourceNotReadyError` for an address or pattern that names no file, and
    :class:`.InvalidRequestError`, also while the rows are read, for a file that can't be read: it names the file, the
    line and what to do.
    """
    files = find_files(source, client)
    format_ = _FORMATS[source.kind]
    columns_of_files = map(format_.columns, files)
    known = next((names for names in columns_of_files if names is not None), None)
    needed = tuple(dict.fromkeys(columns))
    pieces = chain.from_iterable(format_.pieces(file, needed) for file in files)
    return Rows(", ".join(map(str, source.paths)), known, pieces)


def python_rows(rows: PythonRows) -> Rows:
    """Return the rows of an iterable, such as a list of dicts or a generator of them, or of a table in memory.

    Raises :class:`.InvalidRequestError`, also while the rows are read, for one that is not a dict.
    """
    if is_arrow(rows):
        names, pieces = arrow.read_table(cast("ArrowTable", rows))
        return Rows(arrow.TABLE, names, pieces)
    if not isinstance(rows, Iterable):
        raise InvalidRequestError(
            f"the rows are {rows!r:.100}: give an iterable of dicts, with a value for each column"
        )
    checked = _checked(rows)
    first: list[Row] = []
    size = 0
    for row in islice(checked, SAMPLE_ROWS):
        first.append(row)
        size += size_of(row)
        if size > _SAMPLE_BYTES:
            break
    columns = tuple(dict.fromkeys(name for row in first for name in row))
    return Rows("the iterable of rows", columns if first else None, pieces_of(chain(first, checked)))


def _checked(rows: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise InvalidRequestError(
                f"row {number} is {row!r:.100}, of type {type(row).__name__}: give a dict, with a value for each column"
            )
        yield row
