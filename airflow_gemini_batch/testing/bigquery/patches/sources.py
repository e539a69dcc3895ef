"""The files of a load job, as DuckDB reads them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bqemulator.api.routes.tables import _field_to_rest
from bqemulator.domain.errors import UnsupportedFeatureError, ValidationError
from bqemulator.storage.type_map import bq_schema_to_duckdb_columns

from airflow_gemini_batch.testing.bigquery.patches.tables import field_of


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of one load job.

    :param load: ``configuration.load`` of the job.
    :param paths: the files, on this machine.
    :param engine: bqemulator's ``DuckDBEngine``.
    """

    load: dict[str, Any]
    paths: list[Path]
    engine: Any

    @property
    def format(self) -> str:
        """``CSV``, ``NEWLINE_DELIMITED_JSON`` or ``PARQUET``, as the job names it."""
        return str(self.load.get("sourceFormat") or "CSV").upper()

    def detect(self) -> tuple[tuple[Any, ...], str]:
        """Guess the columns from the files, and give them with the query that reads them.

        What is JSON to DuckDB, having no single type, becomes STRING: BigQuery never guesses JSON.
        """
        reader = self._reader(None)
        description = self.engine.execute(f"SELECT * FROM {reader} LIMIT 0").description
        fields = tuple(_guessed(name, kind) for name, kind, *_ in description)
        columns = [
            f"CAST({_name(found)} AS {kind}) AS {_name(field.name)}"
            for (found, *_), field, kind in zip(description, fields, _types(fields).values(), strict=True)
        ]
        return fields, f"SELECT {', '.join(columns)} FROM {reader}"

    def select(self, fields: Iterable[Any]) -> str:
        """Give the query that reads the files as rows of these columns.

        Raises bqemulator's ``ValidationError`` when the rows have a field that is not among them.
        """
        types = _types(fields)
        if self.format == "PARQUET":
            columns = [_filled(_name(name), name, kind) for name, kind in types.items()]
            return f"SELECT {', '.join(columns)} FROM {self._reader(None)}"
        if self.format == "NEWLINE_DELIMITED_JSON" and not self.load.get("ignoreUnknownValues"):
            self._refuse_unknown(types)
        # Bytes travel as base64 in both text formats.
        columns = [
            _filled(f"from_base64({_name(name)})" if kind == "BLOB" else _name(name), name, kind)
            for name, kind in types.items()
        ]
        read = {name: "VARCHAR" if kind == "BLOB" else kind for name, kind in types.items()}
        return f"SELECT {', '.join(columns)} FROM {self._reader(read)}"

    def has_null(self, select: str, column: str) -> bool:
        """Tell whether a column of a query over the files holds NULL."""
        found = self.engine.execute(f"SELECT 1 FROM ({select}) WHERE {_name(column)} IS NULL LIMIT 1")
        return found.fetchone() is not None

    def _refuse_unknown(self, types: dict[str, str]) -> None:
        rows = f"read_ndjson_objects({_literal(self.paths)}, maximum_object_size = {_LONGEST_ROW})"
        found = self.engine.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {rows}").fetchall()
        known = {name.lower() for name in types}
        unknown = sorted(name for (name,) in found if name.lower() not in known)
        if unknown:
            raise ValidationError(
                f"Error while reading data, error message: JSON parsing error: No such field: {unknown[0]}."
            )

    def _reader(self, types: dict[str, str] | None) -> str:
        if self.format == "NEWLINE_DELIMITED_JSON":
            options = {"format": "newline_delimited", "maximum_object_size": _LONGEST_ROW}
            # An object whose keys vary is a RECORD to BigQuery, not a map.
            return _call("read_json", self.paths, options | {"map_inference_threshold": -1}, types)
        if self.format == "CSV":
            return _call("read_csv", self.paths, self._csv_options(detecting=types is None), types)
        if self.format == "PARQUET":
            return _call("read_parquet", self.paths, {}, None)

        raise UnsupportedFeatureError(
            f"The local BigQuery server loads CSV, NEWLINE_DELIMITED_JSON and PARQUET, not {self.format}."
        )

    def _csv_options(self, *, detecting: bool) -> dict[str, Any]:
        quote = self.load.get("quote", '"')
        delimiter = self.load.get("fieldDelimiter") or ","
        skip = int(self.load.get("skipLeadingRows") or 0)
        options: dict[str, Any] = {
            "delim": "\t" if delimiter in ("tab", "\\t") else delimiter,
            "quote": quote,
            "escape": quote,
            "nullstr": self.load.get("nullMarker", ""),
            "allow_quoted_nulls": False,
            "null_padding": bool(self.load.get("allowJaggedRows")),
            "new_line": _line_end(self.paths[0], quote),
            "max_line_size": _LONGEST_ROW,
        }
        if self.load.get("ignoreUnknownValues"):  # values beyond the last column
            options["strict_mode"] = False
        if not detecting:
            return options | {"auto_detect": False, "header": False, "skip": skip}
        if skip:  # the last row to skip holds the names
            return options | {"header": True, "skip": skip - 1}
        return options  # DuckDB tells whether the first row holds the names


_LONGEST_ROW = 100 * 2**20  # bytes; BigQuery's own limit for a row of text


def _types(fields: Iterable[Any]) -> dict[str, str]:
    return dict(bq_schema_to_duckdb_columns([_field_to_rest(field) for field in fields]))


def _filled(value: str, name: str, kind: str) -> str:
    # A REPEATED column has no NULL in BigQuery.
    return f"{f'COALESCE({value}, [])' if kind.endswith('[]') else value} AS {_name(name)}"


def _guessed(name: str, duckdb_type: Any) -> Any:
    def settle(field: Any) -> Any:
        fields = tuple(settle(child) for child in field.fields)
        kind = "STRING" if field.type == "JSON" else field.type
        return field.model_copy(update={"type": kind, "fields": fields})

    legal = re.sub(r"\W", "_", name, flags=re.ASCII)
    return settle(field_of(legal, duckdb_type))


def _line_end(path: Path, quote: str) -> str:
    # DuckDB takes the first line end it sees for the file's, be it inside a quoted value.
    inside, previous = False, ""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        for line in file:
            for character in line:
                if character == quote:
                    inside = not inside
                elif character == "\n" and not inside:
                    return "\\r\\n" if previous == "\r" else "\\n"
                previous = character
    return "\\n"


def _call(function: str, paths: list[Path], options: dict[str, Any], types: dict[str, str] | None) -> str:
    arguments = [_literal(paths), *(f"{name} = {_literal(value)}" for name, value in options.items())]
    if types is not None:
        columns = ", ".join(f"{_literal(name)}: {_literal(kind)}" for name, kind in types.items())
        arguments.append(f"columns = {{{columns}}}")
    return f"{function}({', '.join(arguments)})"


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_literal(each) for each in value)}]"
    if isinstance(value, (str, Path)):
        quoted = str(value).replace("'", "''")
        return f"'{quoted}'"
    return str(value)


def _name(column: str) -> str:
    quoted = column.replace('"', '""')
    return f'"{quoted}"'
