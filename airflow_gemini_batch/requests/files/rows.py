"""Rows for requests: those of files in CSV, JSON Lines or Parquet, or what a Python iterable gives, as a stream."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

from airflow_gemini_batch.core.jsonl import LineError, check_encoding, read_object, without_mark
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.sources import SourceFile, find_files
from airflow_gemini_batch.requests.sources import FileKind, FileRows

if TYPE_CHECKING:
    from google.cloud.storage import Client
    from pyarrow.parquet import ParquetFile

Row = Mapping[str, Any]

SAMPLE_ROWS = 1000
"""How many rows are read to learn the columns, where no header or schema names them."""

_BATCH_ROWS = 1000
_BUFFER = 4 * 1024 * 1024
# Beyond this, the fast parser reads whole numbers as floating-point ones.
_INEXACT = 2.0**63


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
        with self._reader(file) as reader:
            return _header(reader, file.name)

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with these columns; blank lines are skipped."""
        with self._reader(file) as reader:
            header = _header(reader, file.name)
            if header is None:
                return
            _check_columns(columns, header, file.name)
            indexes = [(name, header.index(name)) for name in columns]
            width = len(header)
            for cells in reader:
                if len(cells) == width:
                    yield {name: cells[index] or None for name, index in indexes}
                elif cells:
                    raise InvalidRequestError(
                        f"{file.name}, line {reader.line_num}: the row has {len(cells)} cells and the header {width}. "
                        "Quote cells that hold commas, quotes or line ends"
                    )

    @staticmethod
    @contextmanager
    def _reader(file: SourceFile) -> Iterator[Any]:
        # For the whole process: the module knows no other way, and its 128 KiB are too few for a document.
        csv.field_size_limit(sys.maxsize)
        with file.plain() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
            # Strict, since otherwise a quote that is never closed swallows the rest of the file without a word.
            reader = csv.reader(text, strict=True)
            try:
                yield reader
            except UnicodeDecodeError as error:
                raise InvalidRequestError(
                    f"{file.name}, after line {reader.line_num}: not UTF-8 ({error.reason}); save the file as UTF-8"
                ) from error
            except csv.Error as error:
                raise InvalidRequestError(
                    f"{file.name}, line {reader.line_num}: not CSV: {error}. A cell with a quote in it is written "
                    '"like ""this"""'
                ) from error


class JsonLinesFormat:
    """One JSON object a line, in UTF-8. A column that a row lacks is NULL."""

    def columns(self, file: SourceFile) -> tuple[str, ...] | None:
        """Return the names in the first :data:`SAMPLE_ROWS` rows together."""
        names: dict[str, None] = {}
        for row in islice(self.rows(file, ()), SAMPLE_ROWS):
            names |= dict.fromkeys(row)
        return tuple(names) or None

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with all of their columns; blank lines are skipped."""
        with file.plain() as stream:
            for number, line in enumerate(stream, 1):
                try:
                    if number == 1:
                        line = without_mark(line)
                        check_encoding(line)
                    if not line.strip():
                        continue
                    row = read_object(line)
                except LineError as error:
                    where = file.name if error.whole_file else f"{file.name}, line {number}"
                    raise InvalidRequestError(f"{where}: {error.message}: {error.hint}") from None
                for value in row.values():
                    if type(value) is float and abs(value) >= _INEXACT:
                        row = json.loads(line)
                        break
                yield row


class ParquetFormat:
    """Parquet, by batches of rows; values keep their types."""

    def columns(self, file: SourceFile) -> tuple[str, ...] | None:
        """Return the names in the schema."""
        with self._opened(file) as parquet:
            return _unique(tuple(parquet.schema_arrow.names), file.name)

    def rows(self, file: SourceFile, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with these columns; the others are not read."""
        with self._opened(file) as parquet:
            _check_columns(columns, parquet.schema_arrow.names, file.name)
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(columns)):
                names = batch.schema.names
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield dict(zip(names, values, strict=True))

    @staticmethod
    @contextmanager
    def _opened(file: SourceFile) -> Iterator[ParquetFile]:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile

        with file.open() as stream:
            try:
                # With a buffer a row group is read piece by piece, however large it is.
                yield ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
            except (ArrowInvalid, OSError) as error:
                # pyarrow's own errors of reading are bare ones; those of the disk and the network are not.
                if not isinstance(error, ArrowInvalid) and (type(error) is not OSError or error.errno):
                    raise
                raise InvalidRequestError(
                    f"{file.name} can't be read as Parquet: {error}. Write it again"
                ) from error


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
    first = list(islice(checked, SAMPLE_ROWS))
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
        if cells:
            return _unique(tuple(cell.strip() for cell in cells), name)
    return None


def _unique(names: tuple[str, ...], file: str) -> tuple[str, ...]:
    # Columns without a name can't be asked for, so they may be many.
    named = [name for name in names if name]
    if repeated := sorted({name for name in named if named.count(name) > 1}):
        raise InvalidRequestError(
            f"{file} has more than one column {', '.join(map(repr, repeated))}: rename them, so that each name is "
            "used once"
        )
    return names


def _check_columns(needed: Sequence[str], present: Sequence[str], file: str) -> None:
    if missing := [name for name in needed if name not in present]:
        raise InvalidRequestError(
            f"{file} has no column {', '.join(map(repr, missing))}, unlike the files before it. Its columns are: "
            f"{', '.join(present)}"
        )
