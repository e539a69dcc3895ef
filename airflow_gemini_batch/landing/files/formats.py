"""The formats of files that answers land in. A new one is one class here, named in :data:`_FORMATS`."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import orjson

from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.landing.files.database import (
    PARQUET_OPTIONS,
    VECTOR,
    copy_rows,
    identifier,
    literal,
)
from airflow_gemini_batch.landing.files.jsonl import jsonl_rows
from airflow_gemini_batch.landing.files.merge import DUCKDB_TYPES, Columns, FileRows
from airflow_gemini_batch.landing.files.vectors import VectorColumn

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyarrow.parquet import ParquetFile as ParquetReader

_BATCH_ROWS = 4_000


class TargetFormat(ABC):
    """How one format of files is read and written."""

    endings: ClassVar[tuple[str, ...]]
    """Of the files' names, in small letters."""
    vector_type: ClassVar[str]
    """The floats that vectors are kept as: ``f`` for 32 bits, ``d`` for 64."""
    copy_options: ClassVar[str]
    """Of DuckDB's COPY."""

    def landed_type(self, type_: str) -> str:
        """Return the type that a column of a type has in such a file."""
        return type_

    def staged_value(self, column: str, type_: str) -> str:
        """Return the expression for a staged value as it will be when it is read again."""
        return identifier(column)

    def written_value(self, column: str, type_: str) -> str:
        """Return the item of a SELECT that writes a column."""
        return identifier(column)

    def read(
        self,
        database: DuckDBPyConnection,
        file: Path,
        where: str,
        columns: Columns,
        folder: Path,
        vectors: VectorColumn | None = None,
    ) -> FileRows:
        """Return the rows of a file; a column of vectors holds digests, and the vectors are kept aside.

        Where a column holds a value of another type than the one to land there, the types say so, and the rows are not
        for reading.

        :param where: the file, for messages.
        :param columns: BigQuery's types of the columns that are to land there.
        :param folder: takes files beside it.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a file that can't be read.
        """
        thin = self._without_vectors(file, folder / "thin", where, vectors) if vectors else None
        rows = self._rows(database, thin or file, where, columns, folder)
        if vectors and thin and vectors.name in rows.columns:
            return FileRows(rows.query, {**rows.columns, vectors.name: VECTOR})
        return rows

    def write(
        self,
        database: DuckDBPyConnection,
        rows: FileRows,
        key: Sequence[str],
        path: Path,
        vectors: VectorColumn | None = None,
    ) -> None:
        """Write rows in the order of their keys, so that equal rows give an equal file.

        :param vectors: the column whose digests become vectors again.
        """
        values = {name: self.written_value(name, type_) for name, type_ in rows.columns.items()}
        query = f"SELECT {', '.join(values.values())} FROM ({rows.query})"
        copy, options = path, self.copy_options
        if vectors:
            query = vectors.placed_query(rows, values)
            copy, options = path.with_name(f"{path.name}.placed"), PARQUET_OPTIONS
        order = ", ".join(map(identifier, key))
        copy_rows(database, f"{query} ORDER BY {order}", copy, options)
        if vectors:
            from pyarrow.parquet import ParquetFile as ParquetReader

            with ParquetReader(copy) as source:
                self._write_vectors(source, path, rows.columns, vectors)

    @abstractmethod
    def _rows(
        self, database: DuckDBPyConnection, file: Path, where: str, columns: Columns, folder: Path
    ) -> FileRows:
        """Return the rows of a file without vectors."""

    @abstractmethod
    def _without_vectors(self, file: Path, copy: Path, where: str, vectors: VectorColumn) -> Path | None:
        """Copy a file with digests in place of its vectors; returns ``None`` if it has none."""

    @abstractmethod
    def _write_vectors(
        self, source: ParquetReader, path: Path, columns: Columns, vectors: VectorColumn
    ) -> None:
        """Write rows that have the offset of each vector in its column."""


class ParquetFormat(TargetFormat):
    """Parquet: JSON is text, a time a UTC timestamp, a vector a list of fixed size of 32-bit floats."""

    endings = (".parquet",)
    vector_type = "f"  # as much as these models give
    copy_options = f"{PARQUET_OPTIONS}, COMPRESSION zstd"

    def landed_type(self, type_: str) -> str:
        """Return ``STRING`` for JSON, which Parquet has no type for."""
        return "STRING" if type_ == "JSON" else type_

    def _rows(
        self, database: DuckDBPyConnection, file: Path, where: str, columns: Columns, folder: Path
    ) -> FileRows:
        import duckdb

        query = f"SELECT * FROM read_parquet({literal(file)})"
        try:
            described = database.execute(f"DESCRIBE {query}").fetchall()
        except duckdb.Error as error:
            raise InvalidRequestError(
                f"{where} is not a Parquet file: {error}. Name another target or move the file"
            ) from error
        return FileRows(query, {name: _bigquery_type(kind) for name, kind, *_ in described})

    def _without_vectors(self, file: Path, copy: Path, where: str, vectors: VectorColumn) -> Path | None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile as ParquetReader
        from pyarrow.parquet import ParquetWriter

        try:
            source = ParquetReader(file, pre_buffer=False)
        except pa.ArrowInvalid:
            return None  # reading its rows gives the error
        with source:
            index = source.schema_arrow.get_field_index(vectors.name)
            if index < 0 or not _holds_vectors(source.schema_arrow.field(index).type):
                return None
            schema = source.schema_arrow.set(index, pa.field(vectors.name, pa.string()))
            with ParquetWriter(make_private(copy), schema, compression="lz4") as writer:
                for batch in source.iter_batches(_BATCH_ROWS):
                    digests = vectors.digests(batch.column(index), where)
                    writer.write_batch(batch.set_column(index, schema.field(index), digests))
        return copy

    def _write_vectors(
        self, source: ParquetReader, path: Path, columns: Columns, vectors: VectorColumn
    ) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        index = source.schema_arrow.get_field_index(vectors.name)
        field = pa.field(vectors.name, pa.list_(vectors.item_type, vectors.dimensions))
        leaves = (source.schema.column(leaf).path for leaf in range(len(source.schema)))
        others = [leaf for leaf in leaves if leaf != vectors.name]
        # Vectors are as good as random numbers: compressing them takes long and gains nothing.
        with ParquetWriter(
            make_private(path),
            source.schema_arrow.set(index, field),
            compression=dict.fromkeys(others, "zstd"),
            use_dictionary=others,
        ) as writer:
            for batch in source.iter_batches(_BATCH_ROWS):
                writer.write_batch(batch.set_column(index, field, vectors.arrays(batch.column(index))))


class JsonLinesFormat(TargetFormat):
    """JSON Lines: JSON is nested, a time ISO 8601, a vector a list with all digits.

    A row without a vector has no such field, since BigQuery loads no NULL into a repeated column.
    """

    endings = (".jsonl", ".ndjson", ".json")
    vector_type = "d"
    copy_options = "FORMAT json"

    def staged_value(self, column: str, type_: str) -> str:
        """Return the expression for a staged value, JSON as DuckDB spells it."""
        return f"JSON({identifier(column)})::VARCHAR" if type_ == "JSON" else identifier(column)

    def written_value(self, column: str, type_: str) -> str:
        """Return the item of a SELECT for a column in JSON Lines."""
        name = identifier(column)
        if type_ == "TIMESTAMP":
            return f"STRFTIME(TIMEZONE('UTC', {name}), '{_ISO_8601}') AS {name}"
        return f"{name}::JSON AS {name}" if type_ == "JSON" else name

    def _rows(
        self, database: DuckDBPyConnection, file: Path, where: str, columns: Columns, folder: Path
    ) -> FileRows:
        return jsonl_rows(database, file, columns, where, folder)

    def _without_vectors(self, file: Path, copy: Path, where: str, vectors: VectorColumn) -> Path | None:
        with file.open("rb") as lines, make_private(copy).open("wb") as copied:
            for line in iter_lines(lines):
                copied.write(_without_vector(line, where, vectors) + b"\n")
        return copy

    def _write_vectors(
        self, source: ParquetReader, path: Path, columns: Columns, vectors: VectorColumn
    ) -> None:
        documents = [name for name, type_ in columns.items() if type_ == "JSON"]
        with make_private(path).open("wb") as file:
            for batch in source.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    if (offset := row.pop(vectors.name)) is not None:
                        row[vectors.name] = vectors.values(offset)
                    for name in documents:
                        row[name] = None if row[name] is None else orjson.Fragment(row[name])
                    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


PARQUET, JSON_LINES = ParquetFormat(), JsonLinesFormat()
_FORMATS: tuple[TargetFormat, ...] = (PARQUET, JSON_LINES)


def format_of_file(path: str) -> TargetFormat:
    """Return the format of a target by the ending of its name.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for an ending that no format has.
    """
    for format_ in _FORMATS:
        if path.lower().endswith(format_.endings):
            return format_
    endings = " or ".join(format_.endings[0] for format_ in _FORMATS)
    raise InvalidRequestError(f"target {path}: answers land in a {endings} file, or in a bq:// table")


_ISO_8601 = "%Y-%m-%dT%H:%M:%S.%f+00:00"


def _without_vector(line: bytes, where: str, vectors: VectorColumn) -> bytes:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line  # reading its rows gives the error
    values = row.get(vectors.name) if isinstance(row, dict) else None
    if values is None:
        return line
    try:
        digest = vectors.add(values, where)
    except (TypeError, struct.error, OverflowError):
        raise InvalidRequestError(
            f"{where} can't take the vectors: the field {vectors.name!r} of a line is not a vector, {values!r:.80}. "
            "Name another target or vector_column, or move the file. Nothing was landed in it."
        ) from None
    return orjson.dumps({**row, vectors.name: digest})


def _bigquery_type(kind: str) -> str:
    """Return BigQuery's name of DuckDB's type, which is left as it is when there is none."""
    if kind.endswith("[]"):
        return f"ARRAY<{_bigquery_type(kind.removesuffix('[]'))}>"
    return next((name for name, own in DUCKDB_TYPES.items() if own == kind), kind)


def _holds_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    lists = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    return any(is_list(kind) for is_list in lists) and pa.types.is_floating(kind.value_type)
