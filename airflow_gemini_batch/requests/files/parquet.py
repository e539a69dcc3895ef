"""Rows of Parquet files, in memory that does not depend on what a file unpacks to."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.arrow import BATCH_BYTES, BATCH_ROWS, pieces_of_batch
from airflow_gemini_batch.requests.files.parquet_pages import pages
from airflow_gemini_batch.requests.files.pieces import Piece, check_columns, unique
from airflow_gemini_batch.requests.files.sources import SourceFile

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnChunkMetaData, ParquetFile

_BUFFER = 4 * 1024 * 1024

# Most bytes of the pages that are in memory together, one of each column that is read. pyarrow writes some 1,000 rows
# into a page, however large they are.
_LARGEST_PAGES = 256 * 2**20
# Of a column with lists: a row may hold any number of them, so all of a row group's may belong to one row.
_MOST_LIST_VALUES = 16_000_000
_LARGEST_FOOTER = 32 * 2**20
_SMALLER_GROUPS = "Write the file with smaller row groups (row_group_size), or divide the rows"


def columns(file: SourceFile) -> tuple[str, ...]:
    """Return the names in the schema."""
    with _opened(file) as parquet:
        return unique(parquet.schema_arrow.names, file.name)


def pieces(file: SourceFile, columns: Sequence[str]) -> Iterator[Piece]:
    """Yield the rows with these columns, which keep their types; the others are not read.

    A row, a page or a list that does not fit into memory is an error.
    """
    with _opened(file) as parquet:
        check_columns(columns, parquet.schema_arrow.names, file.name)
        # A text that is in the file once stays so in memory, however many rows have it.
        once = [
            column.path
            for column in map(parquet.schema.column, range(len(parquet.schema)))
            if column.path.partition(".")[0] in columns
            and column.physical_type == "BYTE_ARRAY"
            and column.converted_type != "DECIMAL"
        ]
    with _opened(file, once) as parquet:
        first = 1
        for group in range(parquet.num_row_groups):
            rows = _rows_at_a_time(file, parquet, group, columns)
            for batch in parquet.iter_batches(rows, row_groups=[group], columns=list(columns)):
                yield from pieces_of_batch(batch, f"{file.name}, row {first}")
                first += batch.num_rows


def _rows_at_a_time(file: SourceFile, parquet: ParquetFile, group: int, columns: Sequence[str]) -> int:
    """Return how many rows of a row group are read at a time, by the sizes of its pages.

    Raises :class:`.InvalidRequestError` for pages, or lists, that are too large.
    """
    row_group = parquet.metadata.row_group(group)
    largest = row_bytes = 0
    with file.open() as stream:
        for index in range(row_group.num_columns if row_group.num_rows else 0):
            column = row_group.column(index)
            if column.path_in_schema.partition(".")[0] not in columns:
                continue
            found = list(pages(stream, *_extent(column)))
            data = [page for page in found if not page.is_dictionary]
            values = sum(page.values for page in data)
            where = f"{file.name}: in row group {group + 1}, the column {column.path_in_schema!r} has"
            if parquet.schema.column(index).max_repetition_level > 0:
                if values > _MOST_LIST_VALUES:
                    raise InvalidRequestError(
                        f"{where} {values:,} values in lists, and {_MOST_LIST_VALUES:,} can be read. {_SMALLER_GROUPS}"
                    )
                largest += sum(page.size for page in found)
            else:
                # pyarrow makes more than one copy of a dictionary.
                largest += max((page.size for page in data), default=0)
                largest += 2 * sum(page.size for page in found if page.is_dictionary)
                row_bytes += max((page.size // max(1, page.values) for page in data), default=0)
            if largest > _LARGEST_PAGES:
                raise InvalidRequestError(
                    f"{where} pages of {largest // 2**20:,} MB, with the columns before it, and "
                    f"{_LARGEST_PAGES // 2**20} MB can be read. {_SMALLER_GROUPS}"
                )
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, row_bytes)))


def _extent(column: ColumnChunkMetaData) -> tuple[int, int]:
    """Return where the pages of a column begin and end."""
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


@contextmanager
def _opened(file: SourceFile, once: Sequence[str] = ()) -> Iterator[ParquetFile]:
    """Open a file.

    :param once: the leaves of the schema whose values are read into dictionaries.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    with file.open() as stream:
        try:
            _check_footer(stream, file.name)
            # With a buffer a row group is read piece by piece, however large it is.
            yield ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False, read_dictionary=list(once))
        except InvalidRequestError:
            raise
        except (ArrowException, ValueError, OSError) as error:
            # pyarrow's own errors of reading are bare ones; those of the disk and the network are not.
            if not isinstance(error, (ArrowException, ValueError)) and (
                type(error) is not OSError or error.errno
            ):
                raise
            raise InvalidRequestError(
                f"{file.name} can't be read as Parquet: {error}. Write it again"
            ) from error


def _check_footer(stream: BinaryIO, name: str) -> None:
    """Raise :class:`.InvalidRequestError` for a footer that would take too much memory."""
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - 8))
    tail = stream.read(8)
    if (
        len(tail) == 8
        and tail.endswith(b"PAR1")
        and (length := struct.unpack("<I", tail[:4])[0]) > _LARGEST_FOOTER
    ):
        raise InvalidRequestError(
            f"{name} has a footer of {length // 2**20:,} MB, and {_LARGEST_FOOTER // 2**20} MB can be read. "
            "Write it again, with fewer columns or larger row groups"
        )
