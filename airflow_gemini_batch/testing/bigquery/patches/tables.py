"""Corrections of what bqemulator's catalog knows and its API tells about tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from bqemulator.api.routes.tables import _field_to_rest
from bqemulator.catalog.ddl_sync import _column_notnull_map
from bqemulator.catalog.etag import generate_etag
from bqemulator.catalog.models import TableFieldSchema, TableSchema
from bqemulator.domain.events import TableDataChanged
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.storage.type_map import bq_schema_to_duckdb_columns

from airflow_gemini_batch.testing.bigquery.patches.request import current
from airflow_gemini_batch.testing.bigquery.patches.seams import replace

_SYNC = "bqemulator.catalog.ddl_sync"
_ROUTES = "bqemulator.api.routes.tables"

# DuckDB type → type name in BigQuery's REST API; whatever is missing (ENUM, UUID) is a STRING there.
_WIRE_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "integer", "bigint", "hugeint"), "INTEGER"),
    **dict.fromkeys(("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"), "INTEGER"),
    "float": "FLOAT",
    "double": "FLOAT",
    "decimal": "NUMERIC",
    "boolean": "BOOLEAN",
    "blob": "BYTES",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "DATETIME",
    "timestamp with time zone": "TIMESTAMP",
    "interval": "INTERVAL",
}


def field_of(name: str, duckdb_type: Any, *, mode: str = "NULLABLE") -> Any:
    """Give bqemulator's ``TableFieldSchema`` for a column.

    :param duckdb_type: the type as a cursor's ``description`` holds it.
    """
    if duckdb_type.id == "list":
        return field_of(name, duckdb_type.children[0][1], mode="REPEATED")
    if duckdb_type.id == "struct":
        fields = tuple(field_of(child, kind) for child, kind in duckdb_type.children)
        return TableFieldSchema(name=name, type="RECORD", mode=mode, fields=fields)
    wire = "JSON" if str(duckdb_type) == "JSON" else _WIRE_TYPES.get(duckdb_type.id, "STRING")
    return TableFieldSchema(name=name, type=wire, mode=mode)


def read_types_from_duckdb() -> None:
    """Read the schema of a table that SQL made from DuckDB's types.

    It was read from Arrow's, which has no JSON: ``CREATE TABLE … AS SELECT`` made STRING of every JSON column.
    """

    def make(_original: object) -> Callable[..., Any]:
        def introspect(project: str, dataset: str, table: str, context: Any) -> Any:
            reference = quoted_table_ref(project, dataset, table)
            required = _column_notnull_map(reference, context)
            description = context.engine.execute(f"SELECT * FROM {reference} LIMIT 0").description
            return TableSchema(
                fields=tuple(
                    field_of(name, kind, mode="REQUIRED" if required.get(name) else "NULLABLE")
                    for name, kind, *_ in description
                )
            )

        return introspect

    replace(_SYNC, "_introspect_schema", make)


def note_changes() -> None:
    """Count the rows and give a new etag and modification time whenever a table's data changed.

    Every write ends here. It copied the whole table for ``FOR SYSTEM_TIME`` instead, and after DML the table still
    said 0 rows and showed its first etag.
    """

    def make(_original: object) -> Callable[..., None]:
        def record_change(manager: Any, project: str, dataset: str, table: str) -> None:
            touch(manager._engine, manager._catalog, manager._clock.now(), (project, dataset, table))
            manager._events.publish(TableDataChanged(project, dataset, table))

        return record_change

    replace("bqemulator.versioning.snapshots:SnapshotManager", "record_change", make)


def touch(engine: Any, catalog: Any, now: dt.datetime, key: tuple[str, str, str], **changes: Any) -> None:
    """Write a table's row count, modification time and a new etag into the catalog, and ``changes`` with them."""
    table = catalog.get_table(*key)
    if table is None:
        return
    (rows,) = engine.execute(f"SELECT COUNT(*) FROM {quoted_table_ref(*key)}").fetchone()
    changes |= {"num_rows": rows, "last_modified_time": now, "etag": generate_etag(*key, str(now))}
    catalog.update_table(table.model_copy(update=changes))


def serve_whole_tables() -> None:
    """Take and give a table's expiration time, give its dataset's location, and add columns to the table itself.

    The first two were left out; columns added with ``tables.patch`` were known to the catalog only.
    """

    def to_rest(original: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
        def render(table: Any) -> dict[str, Any]:
            body = original(table)
            if table.expiration_time is not None:
                body["expirationTime"] = str(int(table.expiration_time.timestamp() * 1000))
            dataset = current().context.catalog.get_dataset(table.project_id, table.dataset_id)
            return body if dataset is None else body | {"location": dataset.location}

        return render

    def from_rest(original: Callable[..., Any]) -> Callable[..., Any]:
        def parse(project: str, dataset: str, body: dict[str, Any], clock: Any, existing: Any = None) -> Any:
            table = original(project, dataset, body, clock, existing)
            if existing is not None:
                _add_columns(existing, table)
            if "expirationTime" not in body:
                expiry = existing.expiration_time if existing else None
            else:
                millis = body["expirationTime"]
                expiry = dt.datetime.fromtimestamp(int(millis) / 1000, dt.UTC) if millis else None
            return table.model_copy(update={"expiration_time": expiry})

        return parse

    replace(_ROUTES, "_table_to_rest", to_rest)
    replace(_ROUTES, "_rest_to_table_meta", from_rest)


def _add_columns(before: Any, after: Any) -> None:
    known = {field.name for field in before.schema_.fields}
    added = [_field_to_rest(field) for field in after.schema_.fields if field.name not in known]
    reference = quoted_table_ref(after.project_id, after.dataset_id, after.table_id)
    for name, kind in bq_schema_to_duckdb_columns(added):
        quoted = name.replace('"', '""')
        current().context.engine.execute(f'ALTER TABLE {reference} ADD COLUMN "{quoted}" {kind}')


def drop_expired(context: Any) -> None:
    """Drop the tables whose expiration time has passed; nothing did."""
    now, catalog = context.clock.now(), context.catalog
    # To list the tables of each dataset is to look at all tables for each.
    for table in list(getattr(catalog, "_cache", catalog)._tables.values()):
        if table.expiration_time is not None and table.expiration_time <= now:
            drop(table, context)
            context.catalog.delete_table(table.project_id, table.dataset_id, table.table_id)


def drop(table: Any, context: Any) -> None:
    """Drop a table or a view from DuckDB; the route that deletes tables could not delete views."""
    kind = "VIEW" if table.table_type == "VIEW" else "TABLE"
    reference = quoted_table_ref(table.project_id, table.dataset_id, table.table_id)
    context.engine.execute(f"DROP {kind} IF EXISTS {reference}")


CORRECTIONS = (
    read_types_from_duckdb,
    note_changes,
    serve_whole_tables,
)
