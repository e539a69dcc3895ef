"""The formats of files that answers land in. A new one is one class here, named in :data:`_FORMATS`."""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.files.jsonl import jsonl_rows
from airflow_gemini_batch.landing.files.merge import Columns, FileRows
from airflow_gemini_batch.landing.files.vectors import VectorColumn
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import copy_rows, identifier, literal, text_literal

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection
    from pyarrow.parquet import ParquetWriter

Write = Callable[["pa.Table"], None]
"""Appends rows to a file."""

_GROUP_ROWS = 20_480


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of a file look like.

    :param columns: BigQuery's types by name.
    :param key: the columns that the rows are sorted by.
    :param vector: the column with vectors; ``None`` if there is none.
    """

    columns: Columns
    key: Sequence[str]
    vector: VectorColumn | None = None


class TargetFormat(ABC):
    """How one format of files is read and written."""

    endings: ClassVar[tuple[str, ...]]
    """Of the files' names, in small letters."""
    vector_type: ClassVar[str]
    """DuckDB's type of the numbers of vectors."""

    def landed_type(self, type_: str) -> str:
        """Return the type that a column of a type has in such a file."""
        return type_

    @abstractmethod
    def read(
        self, database: DuckDBPyConnection, file: Path, where: str, columns: Columns, folder: Path
    ) -> FileRows:
        """Return the rows of a file.

        Where a column holds a value of another type than the one to land there, the types say so, and the rows are not
        for reading.

        :param where: the file, for messages.
        :param columns: BigQuery's types of the columns that are to land there.
        :param folder: takes files beside it.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a file that can't be read.
        """

    @abstractmethod
    def writing(
        self, database: DuckDBPyConnection, path: Path, layout: Layout
    ) -> AbstractContextManager[Write]:
        """Give what writes rows to a file, in their order. It has to be called once at least."""


class ParquetFormat(TargetFormat):
    """Parquet: JSON is text, a time a UTC timestamp, a vector a list of fixed size of 32-bit floats."""

    endings = (".parquet",)
    vector_type = "FLOAT"  # as much as these models give

    def landed_type(self, type_: str) -> str:
        """Return ``STRING`` for JSON, which Parquet has no type for."""
        return "STRING" if type_ == "JSON" else type_

    def read(
        self, database: DuckDBPyConnection, file: Path, where: str, columns: Columns, folder: Path
    ) -> FileRows:
        """Return the rows of a Parquet file."""
        import duckdb

        query = f"SELECT * FROM read_parquet({literal(file)})"
        try:
            described = database.execute(f"DESCRIBE {query}").fetchall()
        except duckdb.Error as error:
            raise InvalidRequestError(
                f"{where} is not a Parquet file: {error}. Name another target or move the file"
            ) from error
        types = {name: _bigquery_type(kind) for name, kind, *_ in described}
        lists = [
            f"{identifier(name)}::{found[1]}[] AS {identifier(name)}"
            for name, kind, *_ in described
            if (found := _fixed_size(kind))
        ]
        return FileRows(query.replace("*", f"* REPLACE ({', '.join(lists)})", 1) if lists else query, types)

    @contextmanager
    def writing(self, database: DuckDBPyConnection, path: Path, layout: Layout) -> Iterator[Write]:
        """Write rows while the next ones are made."""
        with ThreadPoolExecutor(1, "parquet") as background, _ParquetFile(path, layout.vector) as file:
            written: Future[None] = background.submit(lambda: None)

            def write(rows: pa.Table) -> None:
                nonlocal written
                written.result()
                written = background.submit(file.write, rows)

            yield write
            written.result()


class _ParquetFile:
    def __init__(self, path: Path, vector: VectorColumn | None) -> None:
        self._path = path
        self._vector = vector
        self._writer: ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def write(self, rows: pa.Table) -> None:
        if self._vector:
            rows = self._vector.of_fixed_size(rows)
        self._writer = self._writer or self._opened(rows.schema)
        self._writer.write_table(rows, row_group_size=_GROUP_ROWS)

    def _opened(self, schema: pa.Schema) -> ParquetWriter:
        from pyarrow.parquet import ParquetWriter

        options: dict[str, Any] = {"compression": "zstd"}
        if self._vector:
            # Vectors are as good as random numbers: compressing them takes long and gains nothing.
            others = [name for name in schema.names if name != self._vector.name]
            options = {"compression": dict.fromkeys(others, "zstd"), "use_dictionary": others}
        return ParquetWriter(make_private(self._path), schema, **options)


class JsonLinesFormat(TargetFormat):
    """JSON Lines: JSON is nested, a time ISO 8601, a vector a list with all digits.

    A row without a vector has no such field, since BigQuery loads no NULL into a repeated column.
    """

    endings = (".jsonl", ".ndjson", ".json")
    vector_type = "DOUBLE"

    def read(
        self, database: DuckDBPyConnection, file: Path, where: str, columns: Columns, folder: Path
    ) -> FileRows:
        """Return the rows of a file of JSON Lines."""
        return jsonl_rows(database, file, columns, where, folder)

    @contextmanager
    def writing(self, database: DuckDBPyConnection, path: Path, layout: Layout) -> Iterator[Write]:
        """Write rows as lines."""
        part = path.with_suffix(".part")
        values = {name: _json_value(name, type_) for name, type_ in layout.columns.items()}
        items = ", ".join(f"{value} AS {identifier(name)}" for name, value in values.items())
        lines, options = items, "FORMAT json"
        if layout.vector:
            names = {name: f"{text_literal(name)}, {value}" for name, value in values.items()}
            whole = f"json_object({', '.join(names.values())})"
            del names[layout.vector.name]
            without = f"json_object({', '.join(names.values())})"
            lines = f"IF({identifier(layout.vector.name)} IS NULL, {without}, {whole})"
            options = "FORMAT csv, HEADER false, DELIMITER '\x01', QUOTE '', ESCAPE ''"
        query = f"SELECT {lines} FROM {_WRITTEN} ORDER BY {', '.join(map(identifier, layout.key))}"
        with make_private(path).open("wb") as file:

            def write(rows: pa.Table) -> None:
                if layout.vector:
                    layout.vector.check(rows)
                database.register(_WRITTEN, rows)
                copy_rows(database, query, part, options)
                with part.open("rb") as written:
                    shutil.copyfileobj(written, file)

            yield write


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


def _json_value(name: str, type_: str) -> str:
    column = identifier(name)
    if type_ == "TIMESTAMP":
        return f"STRFTIME(TIMEZONE('UTC', {column}), '{_ISO_8601}')"
    return f"{column}::JSON" if type_ == "JSON" else column


_ISO_8601 = "%Y-%m-%dT%H:%M:%S.%f+00:00"
_WRITTEN = "gemini_batch_written"
_fixed_size = re.compile(r"(FLOAT|DOUBLE)\[[0-9]+\]").fullmatch


def _bigquery_type(kind: str) -> str:
    """Return BigQuery's name of DuckDB's type, which is left as it is when there is none."""
    if _fixed_size(kind) or kind == "FLOAT[]":
        return "ARRAY<FLOAT64>"
    if kind.endswith("[]"):
        return f"ARRAY<{_bigquery_type(kind.removesuffix('[]'))}>"
    names = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMP", **{own: name for name, own in DUCKDB.types.items()}}
    return names.get(kind, kind)
