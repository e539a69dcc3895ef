"""The rows of a JSON Lines file that answers were landed in before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import LineError, read_object
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.gcp.pieces import LONG_LINE, pieces
from airflow_gemini_batch.landing.files.merge import Columns, FileRows
from airflow_gemini_batch.sql.dialect import DUCKDB
from airflow_gemini_batch.sql.engine import copy_rows, identifier, literal, parquet_rows, text_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# As many as a table in BigQuery: https://cloud.google.com/bigquery/quotas#standard_tables
_MOST_COLUMNS = 10_000
_OPTIONS = "FORMAT parquet, ROW_GROUP_SIZE 2048, COMPRESSION lz4"

# What DuckDB takes for JSON and others do not. It may stand in a text as well.
_DOUBTFUL = r"[:,\[]\s*-?(?:(?i:nan|inf)|[0-9.]+[eE]\+?[0-9]{3}|[0-9]{309})|,\s*[]}]"

# Structures that values of a type have, as DuckDB's JSON_STRUCTURE names them.
_WHOLE = ("UBIGINT", "BIGINT", "HUGEINT")
_STRUCTURES = {
    "STRING": ("VARCHAR",),
    "TIMESTAMP": ("VARCHAR",),
    "INT64": _WHOLE,
    "FLOAT64": ("DOUBLE", *_WHOLE),
    "BOOL": ("BOOLEAN",),
}


def jsonl_rows(
    database: DuckDBPyConnection, path: Path, columns: Columns, where: str, folder: Path
) -> FileRows:
    """Return the rows of a JSON Lines file, by way of Parquet files in the folder.

    Its fields are the columns; those that nothing lands in are JSON. Where a column holds a value of another type
    than the one to land there, the types say so, and the rows are not for reading.

    :param columns: BigQuery's types of the columns that are to land there.
    :param where: the file, for messages.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a line that is not a JSON object.
    """
    lines = _Lines(database, columns, where)
    with path.open("rb") as stream:
        for piece in pieces([stream], folder):
            with piece:
                for part in piece.parts:
                    lines.read(part.path, 2 * LONG_LINE)
                    if part.long_lines:
                        lines.read(part.long_lines, 2 * LONGEST_ROW)
    return lines.rows


class _Lines:
    """Rows of files of lines."""

    def __init__(self, database: DuckDBPyConnection, columns: Columns, where: str) -> None:
        self._database = database
        self._where = where
        self._columns = columns
        self._kinds = {name.lower(): kind for name, kind in columns.items()}
        self._names: dict[str, None] = {}
        self._others: dict[str, str] = {}
        self._files: list[Path] = []

    def read(self, lines: Path, longest: int) -> None:
        """Read the rows of one file."""
        found = self._fields(lines, longest)
        if self._others or not found:
            return
        types = {name: self._type(name) for name in found}
        typed = ", ".join(
            f"{identifier(name)}: {text_literal(_declared(kind))}" for name, kind in types.items()
        )
        values = ", ".join(
            f"{_value(identifier(name), kind)} AS {identifier(name)}" for name, kind in types.items()
        )
        file = lines.with_suffix(".parquet")
        copy_rows(
            self._database,
            f"SELECT {values} FROM read_json({literal(lines)}, {_reading(longest)}, columns = {{{typed}}})",
            file,
            _OPTIONS,
        )
        self._files.append(file)

    @property
    def rows(self) -> FileRows:
        """All rows."""
        # A file without lines has no columns, so it can take any.
        types = {name: self._type(name) for name in self._names or self._columns}
        if self._files:
            items = ", ".join(map(identifier, types))
            query = (
                f"SELECT {items} FROM {parquet_rows(self._files).removesuffix(')')}, union_by_name = true)"
            )
        else:
            nothing = (
                f"{_value(f'NULL::{_declared(kind)}', kind)} AS {identifier(name)}"
                for name, kind in types.items()
            )
            query = f"SELECT {', '.join(nothing)} LIMIT 0"
        return FileRows(query, {**types, **self._others})

    def _type(self, name: str) -> str:
        return self._kinds.get(name.lower(), "JSON")

    def _fields(self, lines: Path, longest: int) -> list[str]:
        """Return the names of the fields in a file, and note those that hold values of another type than theirs."""
        import duckdb

        is_doubtful = f"json_type(json) != 'OBJECT' OR {DUCKDB.contains('json', _DOUBTFUL)}"
        query = f"""SELECT json_structure(json), BOOL_OR({is_doubtful})
FROM read_ndjson_objects({literal(lines)}, {_reading(longest)})
GROUP BY 1"""
        try:
            structures = self._database.execute(query).fetchall()
        except duckdb.InvalidInputException:
            self._check(lines)
            raise
        if any(doubtful for _, doubtful in structures):
            self._check(lines)
        found: dict[str, None] = {}
        for structure, _ in structures:
            fields = orjson.loads(structure)
            for name, kind in fields.items() if isinstance(fields, dict) else ():
                found[name] = None
                if not _fits(kind, self._type(name)):
                    self._others[name] = _type_of(kind)
        self._names |= found
        if len(self._names) > _MOST_COLUMNS:
            raise self._error(
                f"one of its lines is the one by which they have more than {_MOST_COLUMNS:,} different fields: keep "
                "what differs from row to row in values, or name another target"
            )
        if len({name.lower() for name in self._names}) < len(self._names):
            raise self._error(
                "two of its fields differ in capitals only. Rename one of "
                f"{', '.join(self._names)}, or name another target"
            )
        return list(found)

    def _check(self, lines: Path) -> None:
        """Raise an error for the first line that is not a JSON object."""
        with lines.open("rb") as stream:
            try:
                for line in iter_lines(stream):
                    read_object(line)
            except LineError as error:
                raise self._error(
                    f"one of its lines is {error}: {error.hint}, or name another target"
                ) from None

    def _error(self, what: str) -> InvalidRequestError:
        return InvalidRequestError(f"{self._where} can't take the answers: {what}")


def _reading(longest: int) -> str:
    return f"format = 'newline_delimited', maximum_object_size = {longest}"


def _declared(kind: str) -> str:
    """Return the type that a column of a type is read as."""
    item = kind.removeprefix("ARRAY<").removesuffix(">")
    return "VARCHAR" if kind == "TIMESTAMP" else DUCKDB.types[item] + ("[]" if item != kind else "")


def _value(column: str, kind: str) -> str:
    """Return the expression for a value of a type; ``column`` is one for what was read."""
    if kind == "JSON":
        return f"NULLIF({column}::VARCHAR, 'null')"
    return f"TRY_CAST({column} AS TIMESTAMPTZ)" if kind == "TIMESTAMP" else column


def _fits(structure: Any, kind: str) -> bool:
    if structure == "NULL" or kind == "JSON":
        return True
    item = kind.removeprefix("ARRAY<").removesuffix(">")
    if item == kind:
        return structure in _STRUCTURES[kind]
    return isinstance(structure, list) and structure[0] in ("NULL", *_STRUCTURES[item])


def _type_of(structure: Any) -> str:
    if isinstance(structure, list):
        return f"ARRAY<{_type_of(structure[0])}>"
    return next((kind for kind, names in _STRUCTURES.items() if structure in names), "JSON")
