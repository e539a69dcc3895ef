"""Rows of CSV: comma-separated values with a header, in UTF-8. Values stay text; an empty cell is NULL.

pyarrow reads what follows the rules to the letter. Python's own reader, which takes four times as long, reads what has
quotes elsewhere than around cells, and knows the line of what is wrong.
"""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TextIO

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.pieces import (
    PIECE_BYTES,
    Piece,
    Row,
    blocks,
    check_columns,
    check_utf8,
    pieces_of,
    unique,
)
from airflow_gemini_batch.requests.files.sources import SourceFile

if TYPE_CHECKING:
    from airflow_gemini_batch.requests.columns import Batch

_LONGEST_PIECE = 8 * PIECE_BYTES


def columns(file: SourceFile) -> tuple[str, ...] | None:
    """Return the header."""
    with file.plain() as stream, _reader(file.name, stream) as (reader, _):
        return _header(reader, file.name)


def pieces(file: SourceFile, columns: Sequence[str]) -> Iterator[Piece]:
    """Yield the rows with these columns; blank lines are skipped."""
    with file.plain() as stream:
        place = 3 * stream.peek(3).startswith(BOM_UTF8)
        with _reader(file.name, stream) as (reader, lines):
            if (header := _header(reader, file.name)) is None:
                return
            place, before = place + lines.size, lines.number
    check_columns(columns, header, file.name)
    rows = _Rows(file.name, len(header), {name: header.index(name) for name in columns})
    rest = b""
    with file.plain() as stream:
        stream.seek(place)
        for block in blocks(stream):
            rest += block
            # To look at all places of quotes in a large row would take more memory than to read it.
            if len(rest) > _LONGEST_PIECE or (whole := _whole_records(rest)) is None:
                break
            if whole:
                yield Piece(whole, partial(rows.read, rest[:whole], before))
            place, before = place + whole, before + rest.count(b"\n", 0, whole)
            rest = rest[whole:]
    if rest:
        del block, rest  # each may take as much as the longest row
        with file.plain() as stream:
            stream.seek(place)
            yield from pieces_of(rows.plain(stream, before))


def _whole_records(block: bytes) -> int | None:
    """Return the length of the records that are whole in some lines, ``None`` where the rules are not kept.

    pyarrow does not mind text behind a quote, and takes each CR for a line end; Python's reader does not.
    """
    import numpy as np

    characters = np.frombuffer(b"\n" + block + b"\n", np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    outside = np.concatenate([characters[quotes[::2] - 1], characters[quotes[1::2] + 1]])
    after_cr = characters[np.flatnonzero(characters == ord("\r")) + 1]
    # A quote beside a quote stands for itself.
    if (
        not np.isin(outside, list(b',\r\n"')).all()
        or (after_cr != ord("\n")).any()
        or block.startswith(BOM_UTF8)
    ):
        return None
    if len(quotes) % 2 == 0:
        return len(block)
    ends = np.flatnonzero(characters == ord("\n"))[:-1]
    return int(ends[np.searchsorted(quotes, ends) % 2 == 0][-1])


@dataclass(frozen=True, slots=True)
class _Rows:
    """Reads the rows of one file.

    :param width: number of cells in the header.
    :param indexes: places of the cells that are needed, by their columns.
    """

    name: str
    width: int
    indexes: Mapping[str, int]

    def read(self, block: bytes, before: int) -> Batch:
        """Return the rows of whole records.

        :param before: number of lines before them.
        """
        import pyarrow as pa
        from pyarrow import csv as arrow

        names = [str(index) for index in range(self.width)]
        needed = [names[index] for index in self.indexes.values()]
        texts = dict.fromkeys(needed, pa.string())
        try:
            check_utf8(block)
            table = arrow.read_csv(
                pa.py_buffer(block),
                arrow.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
                arrow.ParseOptions(newlines_in_values=True),
                arrow.ConvertOptions(
                    include_columns=needed, column_types=texts, strings_can_be_null=True, null_values=[""]
                ),
            )
        except pa.ArrowException:
            return list(self.plain(io.BytesIO(block), before))
        found = table.rename_columns(list(self.indexes)).combine_chunks().to_batches()
        return found[0] if found else []

    def plain(self, stream: BinaryIO, before: int) -> Iterator[Row]:
        """Yield the rows as Python's reader finds them; see :meth:`read`."""
        with _reader(self.name, stream, before) as (reader, lines):
            for cells in reader:
                lines.record_size = 0
                if len(cells) == self.width:
                    yield {name: cells[index] or None for name, index in self.indexes.items()}
                elif cells:
                    raise InvalidRequestError(
                        f"{self.name}, line {lines.number}: the row has {len(cells)} cells and the header "
                        f"{self.width}. Quote cells that hold commas, quotes or line ends"
                    )


@contextmanager
def _reader(name: str, stream: BinaryIO, before: int = 0) -> Iterator[tuple[Any, _Lines]]:
    # For the whole process: the module knows no other way, and its 128 KiB are too few for a document.
    csv.field_size_limit(LONGEST_ROW)
    with io.TextIOWrapper(stream, "utf-8" if before else "utf-8-sig", newline="") as text:
        lines = _Lines(text, before)
        try:
            # Strict, since otherwise a quote that is never closed swallows the rest of the file without a word.
            yield csv.reader(lines, strict=True), lines
        except UnicodeDecodeError as error:
            raise InvalidRequestError(
                f"{name}, after line {lines.number}: not UTF-8 ({error.reason}); save the file as UTF-8"
            ) from error
        except _TooLongError:
            raise InvalidRequestError(
                f"{name}, line {lines.number + 1}: the row is longer than {LONGEST_ROW // 2**20} MB. "
                "Divide it, or close the quote that is open"
            ) from None
        except csv.Error as error:
            raise InvalidRequestError(
                f"{name}, line {lines.number}: not CSV: {error}. A cell with a quote in it is written "
                '"like ""this"""'
            ) from error


class _TooLongError(Exception):
    """A row of CSV is longer than what is read."""


class _Lines:
    """The lines of a text.

    :param text: line ends are left as they are.
    :param before: number of lines before the text.
    """

    def __init__(self, text: TextIO, before: int) -> None:
        self._read = text.readline
        self.number = before
        self.size = 0
        """In bytes, of all lines so far."""
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
        self.number += 1
        self.size += len(line.encode())
        return line


def _header(reader: Iterator[list[str]], name: str) -> tuple[str, ...] | None:
    for cells in reader:
        if any("\0" in cell for cell in cells):
            raise InvalidRequestError(f"{name} is UTF-16 text, or not text at all; save the file as UTF-8")
        if cells:
            return unique(tuple(cell.strip() for cell in cells), name)
    return None
