"""Files with vectors: read as rows with digests, and written from them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.embeddings import DIMENSIONS
from airflow_gemini_batch.core.landing import LandingPlan
from airflow_gemini_batch.core.row_sources import FileKind
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.storage.land.database import identifier
from airflow_gemini_batch.storage.land.file_merge import FileRows, json_value, write
from airflow_gemini_batch.storage.land.vector_file import VectorFile
from airflow_gemini_batch.storage.land.vectors import VECTOR, other_length
from airflow_gemini_batch.storage.lines import iter_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyarrow.parquet import ParquetFile

_BATCH_ROWS = 4_000


@dataclass(slots=True)
class VectorColumn:
    """The column that vectors land in.

    :param dimensions: length of the vectors; ``None`` while there is none.
    """

    name: str
    dimensions: int | None
    vectors: VectorFile

    def put_aside(self, file: Path, copy: Path, kind: FileKind, where: str) -> Path:
        """Copy a file with digests in place of its vectors, and return what to read: the file itself without any.

        :param where: the file, for messages.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for vectors of another length.
        """
        if kind is FileKind.PARQUET:
            return copy if self._copy_parquet(file, copy, where) else file
        with file.open("rb") as lines, copy.open("wb") as copied:
            for line in iter_lines(lines):
                copied.write(self._without_vector(line, where) + b"\n")
        return copy

    def marked(self, rows: FileRows) -> FileRows:
        """Return rows of a copy, whose column is known to have digests."""
        return FileRows(
            rows.query, {**rows.columns, self.name: VECTOR} if self.name in rows.columns else rows.columns
        )

    def _without_vector(self, line: bytes, where: str) -> bytes:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            return line  # its reader tells
        values = row.get(self.name) if isinstance(row, dict) else None
        if values is None:
            return line
        try:
            digest = self.vectors.add(values)
        except (TypeError, struct.error, OverflowError):
            raise InvalidRequestError(
                f"{where} can't take the vectors: the field {self.name!r} of a line is none, {values!r:.80}. Name "
                "another target or vector_column, or move the file away. Nothing was landed in it."
            ) from None
        self._check(len(values), where)
        return orjson.dumps({**row, self.name: digest})

    def _copy_parquet(self, file: Path, copy: Path, where: str) -> bool:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile, ParquetWriter

        try:
            source = ParquetFile(file, pre_buffer=False)
        except pa.ArrowInvalid:
            return False  # its reader tells
        with source:
            place = source.schema_arrow.get_field_index(self.name)
            if place < 0 or not _holds_vectors(source.schema_arrow.field(place).type):
                return False
            schema = source.schema_arrow.set(place, pa.field(self.name, pa.string()))
            with ParquetWriter(copy, schema, compression="lz4") as writer:
                for batch in source.iter_batches(_BATCH_ROWS):
                    digests = self._digests(batch.column(place), where)
                    writer.write_batch(batch.set_column(place, schema.field(place), digests))
        return True

    def _digests(self, column: pa.Array, where: str) -> pa.Array:
        import pyarrow as pa
        import pyarrow.compute as pc

        for length in pc.unique(pc.list_value_length(column).drop_null()).to_pylist():
            self._check(length, where)
        numbers = column.flatten().cast(self._item_type)
        start = numbers.offset * self.vectors.item_size
        packed = memoryview(numbers.buffers()[1])[start:] if len(numbers) else memoryview(b"")
        digests = []
        for valid in column.is_valid().to_pylist():
            digests.append(self.vectors.add_packed(bytes(packed[: self._size])) if valid else None)
            packed = packed[self._size :] if valid else packed
        return pa.array(digests, pa.string())

    def _check(self, length: int, where: str) -> None:
        if self.dimensions is None:
            self.dimensions = length
        if length != self.dimensions:
            raise other_length(where, self.dimensions, length)

    def write(
        self, database: DuckDBPyConnection, rows: FileRows, key: Sequence[str], path: Path, kind: FileKind
    ) -> None:
        """Write rows in the order of their keys, with the vectors that their digests stand for.

        A row without a vector has NULL in Parquet, and no such field in JSON Lines, since BigQuery loads no NULL.
        """
        from pyarrow.parquet import ParquetFile

        self.vectors.flush()
        lines = kind is FileKind.JSON_LINES
        selected = []
        for name, type_ in rows.columns.items():
            value = json_value(name, type_) if lines and type_ != "JSON" else identifier(name)
            selected.append(f"places.place AS {identifier(name)}" if name == self.name else value)
        query = f"""SELECT {", ".join(selected)} FROM ({rows.query}) AS rows
LEFT JOIN (SELECT digest, MIN(place) AS place FROM vectors GROUP BY digest) AS places
  ON rows.{identifier(self.name)} = places.digest"""
        placed = path.with_name(f"{path.name}.placed")
        write(database, FileRows(query, rows.columns), key, placed, FileKind.PARQUET)
        with ParquetFile(placed) as source:
            if lines:
                documents = [name for name, type_ in rows.columns.items() if type_ == "JSON"]
                self._write_lines(source, path, documents)
            else:
                self._write_parquet(source, path)

    def _write_parquet(self, source: ParquetFile, path: Path) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        item = self._item_type
        place = source.schema_arrow.get_field_index(self.name)
        schema = source.schema_arrow.set(place, pa.field(self.name, pa.list_(item, self.dimensions)))
        paths = (source.schema.column(leaf).path for leaf in range(len(source.schema)))
        others = [path_ for path_ in paths if path_ != self.name]
        # Vectors are as good as random numbers: compressing them takes long and gains nothing.
        with ParquetWriter(
            path, schema, compression=dict.fromkeys(others, "zstd"), use_dictionary=others
        ) as writer:
            for batch in source.iter_batches(_BATCH_ROWS):
                places = batch.column(place)
                packed = pa.py_buffer(self.vectors.gather(places.to_pylist(), self._size))
                numbers = pa.Array.from_buffers(item, packed.size // self.vectors.item_size, [None, packed])
                mask = places.is_null() if places.null_count else None
                values = pa.FixedSizeListArray.from_arrays(numbers, self.dimensions, mask=mask)
                writer.write_batch(batch.set_column(place, schema.field(place), values))

    def _write_lines(self, source: ParquetFile, path: Path, documents: Sequence[str]) -> None:
        with path.open("wb") as file:
            for batch in source.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    if (place := row.pop(self.name)) is not None:
                        row[self.name] = self._values(place)
                    row.update((name, _document(row[name])) for name in documents)
                    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))

    def _values(self, place: int) -> list[float]:
        packed = self.vectors.gather([place], self._size)
        return list(struct.unpack(f"{self.dimensions}{self.vectors.type_code}", packed))

    @property
    def _size(self) -> int:
        return (self.dimensions or 0) * self.vectors.item_size

    @property
    def _item_type(self) -> pa.DataType:
        import pyarrow as pa

        return pa.float64() if self.vectors.type_code == "d" else pa.float32()


def vector_column(
    plan: LandingPlan, database: DuckDBPyConnection, staged: str, vectors: VectorFile
) -> VectorColumn:
    """Return the column that vectors land in.

    :param plan: for rows without vectors.
    :param staged: these rows, as they stand in a statement.
    """
    (name,) = (one.name for one in plan.columns if one.type == VECTOR)
    ((dimensions,),) = database.execute(f"SELECT MAX({identifier(DIMENSIONS)}) FROM {staged}").fetchall()
    return VectorColumn(name, dimensions, vectors)


def _holds_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    lists = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    return any(is_list(kind) for is_list in lists) and pa.types.is_floating(kind.value_type)


def _document(text: str | None) -> Any:
    return None if text is None else orjson.Fragment(text)
