"""A ledger in BigQuery: a table with one row for each run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.queries import RIVALRY
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.ledger.record import RunRecord
from airflow_gemini_batch.ledger.store import asking, in_order, is_since, parsed

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table
    from google.cloud.bigquery.table import RowIterator

COLUMNS = {
    "run": "STRING",
    "kind": "STRING",
    "dag_id": "STRING",
    "run_id": "STRING",
    "target": "STRING",
    "model": "STRING",
    "question": "STRING",
    "state": "STRING",
    "started": "TIMESTAMP",
    "ended": "TIMESTAMP",
    "expected_usd": "FLOAT64",
    "cost_usd": "FLOAT64",
    "record": "JSON",
}
"""Columns of a ledger and their types in BigQuery. ``record`` is all of the record, and what this package reads; the
others repeat it for the queries of people."""

_READ = ("run", "started", "ended", "record")
RIVAL_PAUSES = (1.0, 3.0, 10.0, 30.0)

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0


class TableLedger:
    """The records of runs in a table, which the first record makes.

    :param client: makes the client of ``google-cloud-bigquery``; its project pays for the statements.
    :param rival_pauses: pauses before each new attempt to change the table while another statement changes it, in
        seconds.
    """

    def __init__(
        self,
        table: BigQueryAddress,
        client: Callable[[], Client],
        *,
        rival_pauses: Sequence[float] = RIVAL_PAUSES,
    ) -> None:
        self.address = str(table)
        self._table = table
        self._make_client = client
        self._rival_pauses = rival_pauses

    @cached_property
    def _client(self) -> Client:
        return self._make_client()

    def exists(self) -> bool:
        """Whether there is a table with the columns of a ledger; see :class:`.Ledger`."""
        with asking(self.address, "read"):
            table = Tables(self._client).find(self._table)
        return table is not None and not self._missing(table)

    def put(self, record: RunRecord) -> None:
        """Write the row of a run; see :class:`.Ledger`."""
        with asking(self.address, "written"):
            location = self._prepared().location
            statement = put_statement(self._table, record)
            for pause in self._rival_pauses:
                try:
                    self._run(statement, location)
                except Exception as error:
                    if not any(sign in str(error) for sign in RIVALRY):
                        raise
                    time.sleep(pause)
                else:
                    return
            self._run(statement, location)

    def find(self, run: str) -> RunRecord | None:
        """Return the record of a run; see :class:`.Ledger`."""
        return next(iter(self._read(records_statement(self._table, run=run))), None)

    def records(self, since: datetime | None = None) -> list[RunRecord]:
        """Return the records; see :class:`.Ledger`."""
        records = self._read(records_statement(self._table, since))
        return in_order(record for record in records if is_since(record, since))

    def _read(self, statement: Statement) -> list[RunRecord]:
        with asking(self.address, "read"):
            table = Tables(self._client).find(self._table)
            if table is None:
                return []
            self._check(table)
            rows = list(self._run(statement, table.location))
        return [parsed(row["record"] or "", f"the row {row['run']!r} of {self.address}") for row in rows]

    def _prepared(self) -> Table:
        """Return the table with all its columns; make it, or add those of a later release, where they are missing."""
        from google.cloud.bigquery import SchemaField
        from google.cloud.bigquery import Table as NewTable

        schema = [SchemaField(name, kind) for name, kind in COLUMNS.items()]
        table = Tables(self._client).find(self._table)
        if table is None:
            return self._client.create_table(
                NewTable(self._table.dotted, schema), exists_ok=True, timeout=_CALL_TIMEOUT
            )
        self._check(table)
        present = {field.name.lower() for field in table.schema}
        if missing := [field for field in schema if field.name not in present]:
            table.schema = [*table.schema, *missing]
            return self._client.update_table(table, ["schema"], timeout=_CALL_TIMEOUT)
        return table

    def _check(self, table: Table) -> None:
        if missing := self._missing(table):
            raise InvalidRequestError(
                f"{self.address} is not a ledger of runs: it has no column {missing[0]!r}. Give another "
                "address as ledger, such as a table that does not exist yet"
            )

    @staticmethod
    def _missing(table: Table) -> list[str]:
        """Return the columns that a table lacks and that a ledger of each release has."""
        present = {field.name.lower() for field in table.schema}
        return [name for name in _READ if name not in present]

    def _run(self, statement: Statement, location: str | None) -> RowIterator:
        return self._client.query_and_wait(
            statement.sql,
            job_config=statement.job_config(),
            location=location,
            api_timeout=_CALL_TIMEOUT,
            wait_timeout=_QUERY_TIMEOUT,
        )


def put_statement(table: BigQueryAddress, record: RunRecord) -> Statement:
    """Return the statement that inserts the row of a run, or replaces it."""
    columns = [name for name in COLUMNS if name != "run"]
    values = ",\n  ".join(f"{_value(name, kind)} AS {name}" for name, kind in COLUMNS.items())
    sql = f"""MERGE INTO {table.sql} AS ledger
USING (SELECT
  {values}
) AS written
ON ledger.run = written.run
WHEN MATCHED THEN UPDATE SET {", ".join(f"{name} = written.{name}" for name in columns)}
WHEN NOT MATCHED THEN INSERT ({", ".join(COLUMNS)}) VALUES ({", ".join(f"written.{name}" for name in COLUMNS)})"""
    return Statement(sql, {"record": orjson.dumps(record.to_json()).decode()})


def records_statement(
    table: BigQueryAddress, since: datetime | None = None, run: str | None = None
) -> Statement:
    """Return the query for records: ``run`` and ``record``, as JSON text.

    :param since: as of :meth:`.Ledger.records`.
    :param run: of one run only.
    """
    conditions = ["TRUE"]
    given: dict[str, Any] = {}
    if since is not None:
        conditions.append("GREATEST(ledger.started, COALESCE(ledger.ended, ledger.started)) >= @since")
        given["since"] = since
    if run is not None:
        conditions.append("ledger.run = @run")
        given["run"] = run
    sql = f"""SELECT ledger.run AS run, TO_JSON_STRING(ledger.record) AS record
FROM {table.sql} AS ledger
WHERE {" AND ".join(conditions)}"""
    return Statement(sql, given=given)


def _value(name: str, kind: str) -> str:
    """Return the expression for a column's value, out of the parameter that holds the record."""
    if kind == "JSON":
        # Each number is a float of Python's, written with as many digits as it takes.
        return "PARSE_JSON(@record, wide_number_mode => 'round')"
    value = f"JSON_VALUE(@record, '$.{name}')"
    return value if kind == "STRING" else f"CAST({value} AS {kind})"
