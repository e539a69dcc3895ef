"""Rows that come by column, in pieces: those of Parquet files, and of Arrow tables and DataFrames in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.pieces import Piece, read_piece, unique

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_gemini_batch.requests.sources import ArrowTable

BATCH_ROWS = 1000
BATCH_BYTES = 2 * LONGEST_ROW

TABLE = "the table of rows"


def read_table(table: ArrowTable) -> tuple[tuple[str, ...], Iterator[Piece]]:
    """Return the names of the columns, and the rows, of what is in memory.

    Raises :class:`.InvalidRequestError` for values that have no type in Arrow, such as a column of mixed ones, and for
    columns of one name.
    """
    import pyarrow as pa

    try:
        reader = pa.RecordBatchReader.from_stream(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidRequestError(f"{TABLE} can't be read: {error}. Give each column one type") from error
    return unique(reader.schema.names, TABLE), _pieces(reader)


def _pieces(reader: pa.RecordBatchReader) -> Iterator[Piece]:
    first = 1
    for batch in reader:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield from pieces_of_batch(batch.slice(start, BATCH_ROWS), f"{TABLE}, row {first + start}")
        first += batch.num_rows


def pieces_of_batch(batch: pa.RecordBatch, where: str) -> Iterator[Piece]:
    """Divide rows until each piece has room in memory as Python's objects.

    :param where: the first row, for messages.

    Raises :class:`.InvalidRequestError` for a row that has none.
    """
    size = _size(batch)
    if batch.num_rows <= 1 and size > LONGEST_ROW:
        raise InvalidRequestError(
            f"{where} or one of the {BATCH_ROWS} after it has {size // 2**20} MB, and a row may have "
            f"{LONGEST_ROW // 2**20} MB. Leave it out, or divide it"
        )
    if batch.num_rows <= 1 or size <= BATCH_BYTES:
        yield read_piece(size, batch)
        return
    middle = batch.num_rows // 2
    yield from pieces_of_batch(batch.slice(0, middle), where)
    yield from pieces_of_batch(batch.slice(middle), where)


def _size(batch: pa.RecordBatch) -> int:
    return sum(map(_plain_size, batch.columns))


def _plain_size(values: pa.Array) -> int:
    """Return the bytes of values when each stands for itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        lengths = pc.take(pc.binary_length(values.dictionary), values.indices)
        return pc.sum(lengths.cast(pa.int64())).as_py() or 0
    if pa.types.is_map(kind):
        start, end = values.offsets[0].as_py(), values.offsets[-1].as_py()
        return sum(_plain_size(part.slice(start, end - start)) for part in (values.keys, values.items))
    if pa.types.is_struct(kind):
        return sum(map(_plain_size, values.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _plain_size(values.flatten())
    return int(values.nbytes)
