"""Corrections of insertAll: rows sent one request at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bqemulator.api.routes import tabledata

from airflow_gemini_batch.testing.bigquery.patches.seams import replace

_ROUTES = "bqemulator.api.routes.tabledata"


def write_json_as_json() -> None:
    """Write an object or a list in a JSON column as JSON; it was written as Python shows it, which is not JSON."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def to_arrow(rows: list[dict[str, Any]], schema: Any) -> Any:
            names = {field.name for field in schema if (field.metadata or {}).get(b"bq_type") == b"JSON"}
            encoded = []
            for row in rows:
                values = {
                    name: json.dumps(value) if name in names and isinstance(value, (dict, list)) else value
                    for name, value in row["json"].items()
                }
                encoded.append({**row, "json": values})
            return original(encoded, schema)

        return to_arrow

    replace(_ROUTES, "bq_rows_to_arrow", make)


def find_invalid_rows(
    key: tuple[str, str, str], request: dict[str, Any], context: Any
) -> list[dict[str, Any]]:
    """Give the ``insertErrors`` of an insertAll request: one entry for each row that the table can't take.

    An unknown field was dropped, a missing required one was NULL, and a value of the wrong type an internal error.

    :param key: project, dataset and table; a table that does not exist has no errors here.
    :param request: the request, as in the REST API.
    """
    table = context.catalog.get_table(*key)
    if table is None:
        return []
    errors = []
    for index, row in enumerate(request.get("rows") or []):
        problem = _problem(row, table.schema_.fields, bool(request.get("ignoreUnknownValues")))
        if problem is not None:
            field, message = problem
            detail = {"reason": "invalid", "location": field, "debugInfo": "", "message": message}
            errors.append({"index": index, "errors": [detail]})
    return errors


def _problem(row: dict[str, Any], fields: tuple[Any, ...], ignore_unknown: bool) -> tuple[str, str] | None:
    values = row["json"]
    unknown = values.keys() - {field.name for field in fields}
    if unknown and not ignore_unknown:
        name = min(unknown)
        return name, f"no such field: {name}."
    for field in fields:
        if values.get(field.name) is None:
            if field.mode == "REQUIRED":
                return field.name, f"Missing required field: {field.name}."
            continue
        schema = tabledata._build_arrow_schema(tabledata._fields_raw_from_schema([field]))
        try:
            if field.type == "JSON" and isinstance(values[field.name], str):
                json.loads(values[field.name])
            tabledata.bq_rows_to_arrow([{"json": {field.name: values[field.name]}}], schema)
        except Exception:
            kind = str(field.type).lower()
            return field.name, f"Cannot convert value to {kind} (bad value): {values[field.name]}"
    return None


CORRECTIONS = (write_json_as_json,)
