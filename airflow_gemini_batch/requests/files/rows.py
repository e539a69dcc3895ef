"""Rows for requests: those of files in CSV, JSON Lines or Parquet, or what a Python iterable gives, as a stream."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import (
    LineError,
    check_encoding,
    read_object,
    with_exact_integers,
    without_mark,
)
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.lines import raw_lines
from airflow_gemini_batch.requests.files.parquet import opened_columns, read_batches
from airflow_gemini_batch.requests.files.sources import SourceFile, find_files
from airflow_gemini_batch.requests.sources import FileKind, FileRows

if TYPE_CHECKING:
    from google.cloud.storage import Client

Row = Mapping[str, Any]

SAMPLE_ROWS = 1000
"""How many rows are read to learn the columns, where no header or schema names them."""

_SAMPLE_COLUMNS = 10_000
_SAMPLE_BYTES = 2 * LONGEST_ROW


class RowFormat(Protocol):
    """How the files of one kind are read.

    For what can't be read, :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` is raised, which names the
    file, and the line where there are lines.
    """

    def columns(self, file: SourceFile) -> tuple[str, ...] | None:
        """Return the names of a file's columns, ``None`` for a file without rows or header."""

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with at least these columns. A file whose header or schema lacks one is an error."""


class CsvFormat:
    """Comma-separated values with a header, in UTF-8. Values stay text; an empty cell is NULL."""

    def columns(self, file: SourceFile) -> tuple[str, ...] | None:
        """Return the header."""
        with self._reader(file) as (reader, _):
            return _header(reader, file.name)

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with these columns; blank lines are skipped."""
        with self._reader(file) as (reader, lines):
            header = _header(reader, file.name)
            if header is None:
                return
            _check_columns(columns, header, file.name)
            indexes = [(name, header.index(name)) for name in columns]
            width = len(header)
            lines.record_size = 0
            for cells in reader:
                lines.record_size = 0
                if len(cells) == width:
                    yield {name: cells[index] or None for name, index in indexes}
                elif cells:
                    raise InvalidRequestError(
                        f"{file.name}, line {reader.line_num}: the row has {len(cells)} cells and the header {width}. "
                        "Quote cells that hold commas, quotes or line ends"
                    )

    @staticmethod
    @contextmanager
    def _reader(file: SourceFile) -> Iterator[tuple[Any, _Lines]]:
        # For the whole process: the module knows no other way, and its 128 KiB are too few for a document.
        csv.field_size_limit(LONGEST_ROW)
        with file.plain() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            # Strict, since otherwise a quote that is never closed swallows the rest of the file without a word.
            lines = _Lines(text)
            reader = csv.reader(lines, strict=True)
            try:
                yield reader, lines
            except UnicodeDecodeError as error:
                raise InvalidRequestError(
                    f"{file.name}, after line {reader.line_num}: not UTF-8 ({error.reason}); save the file as UTF-8"
                ) from error
            except _TooLongError:
                raise InvalidRequestError(
                    f"{file.name}, line {reader.line_num + 1}: the row is longer than {LONGEST_ROW // 2**20} MB. "
                    "Divide it, or close the quote that is open"
                ) from None
            except csv.Error as error:
                raise InvalidRequestError(
                    f"{file.name}, line {reader.line_num}: not CSV: {error}. A cell with a quote in it is written "
                    '"like ""this"""'
                ) from error


class _TooLongError(Exception):
    """A row of CSV is longer than what is read."""


class _Lines:
    """The lines of a text.

    :param text: line ends are left as they are.
    """

    def __init__(self, text: TextIO) -> None:
        self._read = text.readline
        self.record_size = 0
        """Characters since the last row, which may have many lines; to be set to 0 after each."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._read(LONGEST_ROW + 1)
        self.record_size += len(line)
        if self.record_size > LONGEST_ROW:
            raise _TooLongError
        if not line:
            raise StopIteration
        return line


class JsonLinesFormat:
    """One JSON object a line, in UTF-8. A column that a row lacks is NULL."""

    def columns(self, file: SourceFile) -> tuple[str, ...] | None:
        """Return the names in the first :data:`SAMPLE_ROWS` rows together."""
        names: dict[str, None] = {}
        for row in islice(self._objects(file), SAMPLE_ROWS):
            names |= dict.fromkeys(row)
            if len(names) > _SAMPLE_COLUMNS:
                break
        return tuple(names) or None

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with these columns; blank lines are skipped."""
        for row in self._objects(file):
            yield {name: row[name] for name in columns if name in row}

    @staticmethod
    def _objects(file: SourceFile) -> Iterator[Row]:
        with file.plain() as stream:
            for number, line in enumerate(raw_lines(stream, LONGEST_ROW), 1):
                try:
                    if number == 1:
                        line = without_mark(line)
                        check_encoding(line)
                    if not line.strip():
                        continue
                    yield with_exact_integers(read_object(line), line)
                except LineError as error:
                    where = file.name if error.whole_file else f"{file.name}, line {number}"
                    raise InvalidRequestError(f"{where}: {error.message}: {error.hint}") from None


class ParquetFormat:
    """Parquet, by batches of rows; values keep their types."""

    def columns(self, file: SourceFile) -> tuple[str, ...] | None:
        """Return the names in the schema."""
        return _unique(opened_columns(file), file.name)

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with these columns; the others are not read."""
        _check_columns(columns, opened_columns(file), file.name)
        return chain.from_iterable(read_batches(file, columns))


_FORMATS: Mapping[FileKind, RowFormat] = {
    FileKind.CSV: CsvFormat(),
    FileKind.JSON_LINES: JsonLinesFormat(),
    FileKind.PARQUET: ParquetFormat(),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that are read once, in constant memory.

    :param where: the source, for messages.
    :param columns: names of the columns, as far as the first rows have them; ``None`` when there are no rows.
    :param rows: the rows; a column that one lacks is NULL.
    """

    where: str
    columns: tuple[str, ...] | None
    rows: Iterator[Row]


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
    rows = chain.from_iterable(format_.rows(file, needed) for file in files)
    return Rows(", ".join(map(str, source.paths)), known, rows)


def python_rows(rows: Iterable[Mapping[str, Any]]) -> Rows:
    """Return the rows of an iterable, such as a list of dicts or a generator of them.

    Raises :class:`.InvalidRequestError`, also while the rows are read, for one that is not a dict.
    """
    if not isinstance(rows, Iterable):
        raise InvalidRequestError(
            f"the rows are {rows!r:.100}: give an iterable of dicts, with a value for each column"
        )
    checked = _checked(rows)
    first: list[Row] = []
    size = 0
    for row in islice(checked, SAMPLE_ROWS):
        first.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, (str, bytes)))
        if size > _SAMPLE_BYTES:
            break
    columns = tuple(dict.fromkeys(name for row in first for name in row))
    return Rows("the iterable of rows", columns if first else None, chain(first, checked))


def _checked(rows: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise InvalidRequestError(
                f"row {number} is {row!r:.100}, of type {type(row).__name__}: give a dict, with a value for each column"
            )
        yield row


def _header(reader: Iterator[list[str]], name: str) -> tuple[str, ...] | None:
    for cells in reader:
        if any("\0" in cell for cell in cells):
            raise InvalidRequestError(f"{name} is UTF-16 text, or not text at all; save the file as UTF-8")
        if cells:
            return _unique(tuple(cell.strip() for cell in cells), name)
    return None


def _unique(names: tuple[str, ...], file: str) -> tuple[str, ...]:
    # Columns without a name can't be asked for, so they may be many.
    counts = Counter(name for name in names if name)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidRequestError(
            f"{file} has more than one column {listed(map(repr, repeated))}: rename them, so that each name is "
            "used once"
        )
    return names


def _check_columns(needed: Sequence[str], present: Sequence[str], file: str) -> None:
    if missing := [name for name in needed if name not in present]:
        raise InvalidRequestError(
            f"{file} has no column {listed(map(repr, missing))}, unlike the files before it. Its columns are: "
            f"{listed(present)}"
        )
