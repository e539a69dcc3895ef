"""The rows of a JSON Lines file that answers were landed in before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from airflow_gemini_batch.core.jsonl import LineError, read_object, without_mark
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.lines import iter_lines
from airflow_gemini_batch.landing.files.database import (
    VECTOR,
    ParquetFile,
    identifier,
    literal,
    read_in_batches,
)
from airflow_gemini_batch.landing.files.merge import DUCKDB_TYPES, Columns, FileRows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# As many as a table in BigQuery: https://cloud.google.com/bigquery/quotas#standard_tables
_MOST_COLUMNS = 10_000

# Structures that values of a type have, as DuckDB's JSON_STRUCTURE names them.
_STRUCTURES = {
    "STRING": ("VARCHAR",),
    "TIMESTAMP": ("VARCHAR",),
    VECTOR: ("VARCHAR",),
    "INT64": ("UBIGINT", "BIGINT"),
    "FLOAT64": ("DOUBLE", "UBIGINT", "BIGINT"),
    "BOOL": ("BOOLEAN",),
}


def jsonl_rows(
    database: DuckDBPyConnection, path: Path, columns: Columns, where: str, folder: Path
) -> FileRows:
    """Return the rows of a JSON Lines file, by way of a Parquet file in the folder.

    Its fields are the columns; those that nothing lands in are JSON. Where a column holds a value of another type
    than the one to land there, the types say so, and the rows are not for reading.

    :param columns: BigQuery's types of the columns that are to land there.
    :param where: the file, for messages.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a line that is not a JSON object.
    """
    # A file without lines has no columns, so it can take any.
    names = _spool(path, where, folder / "lines.parquet") or list(columns)
    if len({name.lower() for name in names}) < len(names):
        raise InvalidRequestError(
            f"{where} can't take the answers: two of its fields differ in capitals only. Rename one of "
            f"{', '.join(names)}, or name another target"
        )
    kinds = {name.lower(): kind for name, kind in columns.items()}
    types = {name: kinds.get(name.lower(), "JSON") for name in names}
    fields = orjson.dumps(dict.fromkeys(names, "JSON")).decode().replace("'", "''")
    rows = (
        f"SELECT UNNEST(FROM_JSON(line, '{fields}')) FROM read_parquet({literal(folder / 'lines.parquet')})"
    )
    if others := _other_types(database, rows, types):
        return FileRows(rows, {**types, **others})
    typed = ", ".join(
        f"{_typed(identifier(name), kind)} AS {identifier(name)}" for name, kind in types.items()
    )
    return FileRows(f"SELECT {typed} FROM ({rows})", types).kept(database, folder / "typed.parquet")


def _spool(path: Path, where: str, spooled: Path) -> list[str]:
    """Write the lines to a Parquet file and return the names of their fields, in the order in which they came."""
    import pyarrow as pa

    names: dict[str, None] = {}

    def read(line: bytes) -> tuple[bytes]:
        line = without_mark(line)
        try:
            names.update(dict.fromkeys(read_object(line)))
            if len(names) > _MOST_COLUMNS:
                raise LineError(
                    f"the one by which they have more than {_MOST_COLUMNS:,} different fields",
                    "keep what differs from row to row in values",
                )
        except LineError as error:
            raise InvalidRequestError(
                f"{where} can't take the answers: one of its lines is {error}: {error.hint}, or name another target"
            ) from None
        return (line,)

    with path.open("rb") as stream, ParquetFile(spooled, pa.schema([("line", pa.string())])) as file:
        for rows, _ in read_in_batches(iter_lines(stream), read):
            file.write((), rows)
    return list(names)


def _other_types(database: DuckDBPyConnection, rows: str, types: Columns) -> dict[str, str]:
    """Return the columns with values of another type than theirs, and that type."""
    checked = {name: kind for name, kind in types.items() if kind != "JSON"}
    if not checked:
        return {}
    others = []
    for name, kind in checked.items():
        plain = kind.removeprefix("ARRAY<").removesuffix(">")
        shape = '["%s"]' if plain != kind else '"%s"'
        fitting = ", ".join(f"'{shape % structure}'" for structure in ("NULL", *_STRUCTURES[plain]))
        structure = f"JSON_STRUCTURE({identifier(name)})::VARCHAR"
        others.append(f"""ANY_VALUE({structure}) FILTER (WHERE {structure} NOT IN ('"NULL"', {fitting}))""")
    structures = database.execute(f"SELECT {', '.join(others)} FROM ({rows})").fetchall()[0]
    return {
        name: _type_of(structure) for name, structure in zip(checked, structures, strict=True) if structure
    }


def _type_of(structure: str) -> str:
    if structure.startswith('["'):
        return f"ARRAY<{_type_of(structure[1:-1])}>"
    return next((kind for kind, names in _STRUCTURES.items() if structure.strip('"') in names), "JSON")


def _typed(value: str, kind: str) -> str:
    """Return the expression for a value of this type."""
    if kind == "JSON":
        return f"NULLIF({value}::VARCHAR, 'null')"
    if kind.startswith("ARRAY<"):
        return f"{value}::{DUCKDB_TYPES[kind.removeprefix('ARRAY<').removesuffix('>')]}[]"
    if kind == "TIMESTAMP":
        return f"TRY_CAST({value} ->> '$' AS TIMESTAMPTZ)"
    return f"({value} ->> '$')::{DUCKDB_TYPES[kind]}"
