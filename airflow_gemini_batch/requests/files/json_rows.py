"""Rows of JSON Lines, one object a line, in UTF-8: regular ones are read by column, all others line by line."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import (
    LineError,
    check_encoding,
    read_object,
    with_exact_integers,
    without_mark,
)
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.lines import raw_lines
from airflow_gemini_batch.requests.files.pieces import PIECE_BYTES, Piece, Row, blocks, check_utf8
from airflow_gemini_batch.requests.files.sources import SourceFile

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_gemini_batch.requests.columns import Batch

SAMPLE_ROWS = 1000
"""How many rows are read to learn the columns, where no header or schema names them."""

_SAMPLE_COLUMNS = 10_000


def columns(file: SourceFile) -> tuple[str, ...] | None:
    """Return the names in the first :data:`SAMPLE_ROWS` rows together."""
    names: dict[str, None] = {}
    rows = chain.from_iterable(_objects(file.name, *numbered) for numbered in _numbered_blocks(file))
    for row in islice(rows, SAMPLE_ROWS):
        names |= dict.fromkeys(row)
        if len(names) > _SAMPLE_COLUMNS:
            break
    return tuple(names) or None


def pieces(file: SourceFile, columns: Sequence[str]) -> Iterator[Piece]:
    """Yield the rows with these columns; blank lines are skipped, and a column that a row lacks is NULL."""
    typed = _TypedRows(columns)
    for number, block in _numbered_blocks(file):
        yield Piece(len(block), partial(_read, file.name, number, block, columns, typed))


def _numbered_blocks(file: SourceFile) -> Iterator[tuple[int, bytes]]:
    """Yield the number of each block's first line, and the block."""
    number = 1
    with file.plain() as stream:
        for block in blocks(stream):
            yield number, block
            number += block.count(b"\n")


def _read(name: str, number: int, block: bytes, columns: Sequence[str], typed: _TypedRows) -> Batch:
    if (table := typed.read(block)) is not None:
        return table
    rows = list(_objects(name, number, block))
    typed.learn(rows)
    return [{column: row[column] for column in columns if column in row} for row in rows]


def _objects(name: str, number: int, block: bytes) -> Iterator[Row]:
    for line_number, line in enumerate(raw_lines(io.BytesIO(block), LONGEST_ROW), number):
        try:
            if line_number == 1:
                line = without_mark(line)
                check_encoding(line)
            if line.strip():
                yield with_exact_integers(read_object(line), line)
        except LineError as error:
            where = name if error.whole_file else f"{name}, line {line_number}"
            raise InvalidRequestError(f"{where}: {error.message}: {error.hint}") from None


class _TypedRows:
    """Reads rows that have the fields, of the same types, that earlier rows had.

    Given the fields, pyarrow refuses what the package refuses: a name that is there twice, half a surrogate pair, and
    anything that no earlier row had, however deep. What it would take nevertheless is told here.

    :param columns: those that are needed.
    """

    _TYPES = frozenset({"string", "int64", "double", "bool", "null"})
    _MOST_FIELDS = 1000
    # Below it, a whole number has the same text as an integer and as a floating-point number.
    _EXACT = 1e15

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._schema: pa.Schema | None = None
        self._lessons = 8

    def learn(self, rows: Sequence[Row]) -> None:
        """See rows that were read otherwise, if they are among the first such ones."""
        import pyarrow as pa

        if not rows or not self._lessons:
            return
        self._lessons -= 1
        with suppress(pa.ArrowException, OverflowError):
            found = pa.schema(list(pa.infer_type(rows)))
            fields = [str(field) for kind in found.types for field in _fields_in(kind)]
            # An object has its fields in another order here.
            in_order = not any(
                "struct" in str(found.field(name)) for name in self._columns if name in found.names
            )
            if in_order and len(fields) <= self._MOST_FIELDS and self._TYPES.issuperset(fields):
                both = [self._schema or found, found]
                self._schema = pa.unify_schemas(both, promote_options="permissive")

    def read(self, block: bytes) -> pa.RecordBatch | None:
        """Return the rows of a block, ``None`` if they have to be read line by line."""
        import pyarrow as pa
        from pyarrow import json

        schema = self._schema
        if schema is None or len(block) > 2 * PIECE_BYTES:
            return None
        try:
            table = json.read_json(
                pa.py_buffer(block),
                json.ReadOptions(use_threads=False, block_size=len(block) + 1),
                json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
            ).combine_chunks()
            check_utf8(block)
        except pa.ArrowException:
            return None
        needed = [name for name in self._columns if name in schema.names]
        if not needed or table.num_rows != _objects_in(block):
            return None
        (rows,) = table.to_batches()
        return rows.select(needed) if all(map(self._are_exact, rows.columns)) else None

    def _are_exact(self, values: pa.Array) -> bool:
        """Whether numbers are as they stand in JSON, which knows neither infinity nor what is not a number."""
        import pyarrow.compute as pc
        from pyarrow import types

        if types.is_list(values.type):
            return self._are_exact(values.flatten())
        if types.is_struct(values.type):
            return all(map(self._are_exact, values.flatten()))
        return not types.is_float64(values.type) or pc.all(pc.less(pc.abs(values), self._EXACT)).as_py()


def _fields_in(kind: pa.DataType) -> Iterator[pa.DataType]:
    """Yield the types in a type that hold no others."""
    for number in range(kind.num_fields):
        yield from _fields_in(kind.field(number).type)
    if not kind.num_fields:
        yield kind


def _objects_in(block: bytes) -> int:
    """Return the number of lines if each begins with an object, else 0."""
    import numpy as np

    characters = np.frombuffer(block, np.uint8)
    begins = np.append(0, np.flatnonzero(characters[:-1] == ord("\n")) + 1)
    return len(begins) if (characters[begins] == ord("{")).all() else 0
