"""Write rows into the destination table of a job, as its dispositions say."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

from bqemulator.api.routes import tables
from bqemulator.catalog import ddl_sync
from bqemulator.domain.errors import AlreadyExistsError, InvalidQueryError, NotFoundError
from bqemulator.storage.sql_identifiers import quoted_table_ref

from airflow_gemini_batch.testing.bigquery.patches.request import current

# What a table keeps when a job replaces its rows.
_KEPT = ("friendly_name", "description", "labels", "expiration_time", "creation_time")


@dataclasses.dataclass(frozen=True)
class Destination:
    """The destination of a query, load or copy job.

    :param key: project, dataset and table.
    :param write: ``WRITE_EMPTY``, ``WRITE_APPEND`` or ``WRITE_TRUNCATE``.
    :param create: ``CREATE_IF_NEEDED`` or ``CREATE_NEVER``.
    :param layout: the job's ``timePartitioning`` and ``clustering``, as in the REST API.
    """

    key: tuple[str, str, str]
    write: str
    create: str
    layout: dict[str, Any]

    @classmethod
    def of(cls, job: dict[str, Any], project: str, *, write: str) -> Self:
        """Read the destination from a job's configuration.

        :param write: disposition of a job that names none.
        """
        table = job["destinationTable"]
        return cls(
            key=(table.get("projectId") or project, table["datasetId"], table["tableId"]),
            write=job.get("writeDisposition") or write,
            create=job.get("createDisposition") or "CREATE_IF_NEEDED",
            layout={name: job[name] for name in ("timePartitioning", "clustering") if name in job},
        )

    @property
    def reference(self) -> str:
        """The table's quoted name in DuckDB."""
        return str(quoted_table_ref(*self.key))

    def replaces(self, existing: Any | None) -> bool:
        """Return whether the job replaces the table instead of adding to it."""
        return existing is None or self.write == "WRITE_TRUNCATE"

    def find(self, context: Any) -> Any | None:
        """Give the table's catalog entry, or None; raise bqemulator's errors when the job may not write to it.

        ``AlreadyExistsError``: ``WRITE_EMPTY`` and the table holds rows. ``NotFoundError``: its dataset does not
        exist, or the table does not and the job may not create it.
        """
        project, dataset, table = self.key
        if context.catalog.get_dataset(project, dataset) is None:
            raise NotFoundError(f"Not found: Dataset {project}:{dataset}")
        current().check_location(project, dataset)
        existing = context.catalog.get_table(*self.key)
        if existing is None and self.create == "CREATE_NEVER":
            raise NotFoundError(f"Not found: Table {project}:{dataset}.{table}")
        if existing is not None and self.write == "WRITE_EMPTY":
            (rows,) = context.engine.execute(f"SELECT COUNT(*) FROM {self.reference}").fetchone()
            if rows:
                raise AlreadyExistsError(f"Already Exists: Table {project}:{dataset}.{table}")
        return existing

    def fill(self, context: Any, select: str, *, schema: Any = None) -> int:
        """Write what a DuckDB query answers, create the table or replace its rows, and give the number of rows.

        :param select: a DuckDB query; its columns are matched by name.
        :param schema: bqemulator's ``TableSchema`` of a table that is made or replaced; None reads it from DuckDB.

        Raises what :meth:`find` raises, and bqemulator's ``InvalidQueryError`` when rows to append have columns that
        the table does not have.
        """
        existing = self.find(context)
        if self.replaces(existing):
            written = context.engine.execute(f"CREATE OR REPLACE TABLE {self.reference} AS {select}")
            (rows,) = written.fetchone()
            self._register(context, existing, schema)
        else:
            self._check_columns(context, existing, select)
            written = context.engine.execute(f"INSERT INTO {self.reference} BY NAME {select}")
            (rows,) = written.fetchone()
        context.snapshots.record_change(*self.key)
        return int(rows)

    def _check_columns(self, context: Any, existing: Any, select: str) -> None:
        known = {field.name.lower() for field in existing.schema_.fields}
        for name, *_ in context.engine.execute(f"SELECT * FROM ({select}) LIMIT 0").description:
            if name.lower() not in known:
                raise InvalidQueryError(f"Invalid schema update. Cannot add fields (field: {name})")

    def _register(self, context: Any, existing: Any | None, schema: Any) -> None:
        project, dataset, table = self.key
        body = {"tableReference": {"tableId": table}, **self.layout}
        made = tables._rest_to_table_meta(project, dataset, body, context.clock)
        changes = {name: getattr(existing, name) for name in _KEPT} if existing is not None else {}
        changes["schema_"] = schema or ddl_sync._introspect_schema(*self.key, context)
        made = made.model_copy(update=changes)
        if existing is None:
            context.catalog.create_table(made)
        else:
            context.catalog.update_table(made)
