"""The rows of a JSON Lines file that answers were landed in before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.json_lines import LineError, read_object, without_mark
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.storage.land.database import identifier, literal
from airflow_gemini_batch.storage.land.file_merge import DUCKDB_TYPES, Columns, FileRows
from airflow_gemini_batch.storage.land.parquet_file import ParquetFile, read_in_batches
from airflow_gemini_batch.storage.lines import iter_lines

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Structures that values of a type have, as DuckDB's JSON_STRUCTURE names them.
_STRUCTURES = {
    "STRING": ("VARCHAR",),
    "TIMESTAMP": ("VARCHAR",),
    "INT64": ("UBIGINT", "BIGINT"),
    "FLOAT64": ("DOUBLE", "UBIGINT", "BIGINT"),
    "BOOL": ("BOOLEAN",),
}


def jsonl_rows(
    database: DuckDBPyConnection, path: Path, columns: Columns, where: str, folder: Path
) -> FileRows:
    """Return the rows of a JSON Lines file, by way of a Parquet file in the folder.

    Its fields are the columns; those that nothing lands in are JSON. A column with a value of another type than
    the one to land there has that one's type.

    :param columns: BigQuery's types of the columns that are to land there.
    :param where: the file, for messages.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a line that is no JSON object.
    """
    spooled = f"read_parquet({literal(folder / 'lines.parquet')})"
    kinds = {name.lower(): kind for name, kind in columns.items()}
    selected, types = [], {}
    # A file without lines does not tell its columns, so it can have any.
    for name in _spool(path, where, folder / "lines.parquet") or columns:
        kind = kinds.get(name.lower(), "JSON")
        value = f"JSON_EXTRACT(line, {_pointer(name)})"
        types[name] = _other_type(database, f"SELECT {value} AS value FROM {spooled}", kind) or kind
        selected.append(f"{_typed(value, kind)} AS {identifier(name)}")
    return FileRows(f"SELECT {', '.join(selected)} FROM {spooled}", types)


def _spool(path: Path, where: str, spooled: Path) -> list[str]:
    """Write the lines to a Parquet file and return the names of their fields, in the order in which they came."""
    import pyarrow as pa

    names: dict[str, None] = {}

    def read(line: bytes) -> tuple[bytes]:
        line = without_mark(line)
        try:
            names.update(dict.fromkeys(read_object(line)))
        except LineError as error:
            raise InvalidRequestError(
                f"{where} can't take the answers: one of its lines is {error}; {error.way_out}, or name another target"
            ) from None
        return (line,)

    with path.open("rb") as stream, ParquetFile(spooled, pa.schema([("line", pa.string())])) as file:
        for rows, _ in read_in_batches(iter_lines(stream), read):
            file.write((), rows)
    return list(names)


def _other_type(database: DuckDBPyConnection, values: str, kind: str) -> str | None:
    """Return the type of a value that is not of this type, ``None`` when all are."""
    if kind == "JSON":
        return None
    plain = kind.removeprefix("ARRAY<").removesuffix(">")
    structures = [f'["{name}"]' if plain != kind else f'"{name}"' for name in (*_STRUCTURES[plain], "NULL")]
    found = database.execute(
        f"SELECT JSON_STRUCTURE(value) AS structure FROM ({values}) "
        "WHERE structure NOT IN (SELECT UNNEST(?)) AND JSON_TYPE(value) != 'NULL' LIMIT 1",
        [structures],
    ).fetchone()
    return _type_of(found[0]) if found else None


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


def _pointer(name: str) -> str:
    """Return the JSON pointer to a field as it stands in a statement."""
    escaped = name.replace("~", "~0").replace("/", "~1").replace("'", "''")
    return f"'/{escaped}'"
