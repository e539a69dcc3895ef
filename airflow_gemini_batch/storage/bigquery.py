"""Requests and answers in BigQuery tables: the rows stay there, statements do the work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress
from airflow_gemini_batch.core.request_formats import RequestFormat
from airflow_gemini_batch.core.request_rules.column_rules import READ_COLUMNS
from airflow_gemini_batch.core.reruns import Account
from airflow_gemini_batch.core.responses import Outcome, RowResult, Tally
from airflow_gemini_batch.core.usage import Usage, UsageByModel
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.storage.reruns import way_out_when_forbidden
from airflow_gemini_batch.storage.reruns_sql import mixed_requests_statement, reruns_statement
from airflow_gemini_batch.storage.sql import DUPLICATE, UNKNOWN, account_statement, tally_statement
from airflow_gemini_batch.storage.usage_sql import usage_statement

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Row, Table

_EMBEDDED = READ_COLUMNS[RequestFormat.TEXT_EMBEDDING]
_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0


class BigQueryStorage:
    """The tables of batch jobs.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def versions(self, sources: Sequence[BigQueryAddress]) -> list[str]:
        """Return ``bq://project.dataset.table#etag`` for each source.

        The etag changes with the table's rows and with its description.
        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a table that does not exist or
        holds no rows.
        """
        found = []
        for source in sources:
            table = self.find(source)
            if table is None:
                raise SourceNotReadyError(f"source {source}: there is no such table")
            if table.table_type in ("VIEW", "MATERIALIZED_VIEW"):
                raise InvalidRequestError(
                    f"source {source} is a view, and a job reads tables only: write its rows to a table first"
                )
            if table.num_rows == 0 and table.table_type == "TABLE" and not table.streaming_buffer:
                raise SourceNotReadyError(f"source {source}: the table is empty")
            found.append(f"{source}#{table.etag}")
        return found

    def count_requests(self, sources: Sequence[BigQueryAddress]) -> int:
        """Return the number of rows of the sources."""
        return sum(self._count(source) for source in sources)

    def check_destination(self, address: BigQueryAddress) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless a job could write there."""
        from google.api_core.exceptions import NotFound

        try:
            self._client.get_dataset(f"{address.project}.{address.dataset}", timeout=_CALL_TIMEOUT)
        except NotFound:
            raise InvalidRequestError(
                f"destination {address}: the dataset {address.project}.{address.dataset} does not exist; "
                "create it in the location of the job"
            ) from None
        if self.find(address) is not None:
            raise InvalidRequestError(
                f"destination {address}: the table exists already, and a job writes to a new one only; "
                "name another table (with {{ ts_nodash }}, say) or just the dataset, or drop the table first"
            )

    def find(self, address: BigQueryAddress) -> Table | None:
        """Return the table, or ``None`` when there is none."""
        from google.api_core.exceptions import NotFound

        try:
            return self._client.get_table(address.dotted, timeout=_CALL_TIMEOUT)
        except NotFound:
            return None

    def tally(self, table: BigQueryAddress) -> Tally | None:
        """Sort the rows of a job's output table; ``None`` when there is no such table."""
        found = self.find(table)
        return None if found is None else self._tally(tally_statement(table, vectors=_holds_vectors(found)))

    def account(self, table: BigQueryAddress, source: BigQueryAddress) -> Account | None:
        """Sort the rows of a job's output table by the requests of its source table.

        ``None`` when there is no output table. Rows are matched by the columns that pass through; where those do not
        match, the rows are counted only.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when the source is gone.
        """
        found, asked = self.find(table), self.find(source)
        if found is None:
            return None
        if asked is None:
            raise SourceNotReadyError(f"source {source}: there is no such table")
        vectors = _holds_vectors(found)
        if columns := _matching_columns(asked, found):
            tally = self._tally(account_statement(table, source, columns, vectors=vectors))
            if tally.unknown <= tally.rows:
                told_apart = tally.rows > 0
                tally.complete(self._count(source))
                if tally.reruns and self._mixes_requests(asked, source, columns, vectors=vectors):
                    told_apart = False
                write_reruns = partial(self._write_reruns, table, source, columns, vectors)
                return Account(tally, write_reruns if told_apart else None, partial(self.usage, table))
        tally = self._tally(tally_statement(table, vectors=vectors))
        tally.complete(self._count(source))
        return Account(tally, count_usage=partial(self.usage, table))

    def usage(self, table: BigQueryAddress) -> UsageByModel:
        """Add up the tokens of a job's output table; none when there is no such table."""
        found = self.find(table)
        if found is None:
            return {}
        usage = {}
        for row in self._query(usage_statement(table, [field.name for field in found.schema])):
            usage[row["model_version"]] = Usage.from_json({**row, "rows": row["row_count"]})
        return usage

    def _mixes_requests(
        self, asked: Table, source: BigQueryAddress, columns: Sequence[str], *, vectors: bool
    ) -> bool:
        """Whether rows of a source are alike in these columns and differ in others that matter."""
        others = [field.name for field in asked.schema if field.name not in columns]
        if vectors:  # The same text has the same vector, whosever it is.
            others = [name for name in others if name in _EMBEDDED]
        if not others:
            return False
        rows = self._query(mixed_requests_statement(source, columns, others))
        return bool(next(iter(rows))["row_count"])

    def _write_reruns(
        self,
        table: BigQueryAddress,
        source: BigQueryAddress,
        columns: Sequence[str],
        vectors: bool,
        place: Address,
    ) -> None:
        """Write the rows of a source that are worth another job to a table that goes by itself after some days."""
        # Requests of a follow-up lie where those of the source do: core.submission.rerun_place sees to it.
        address = cast("BigQueryAddress", place)
        statement = reruns_statement(address, table, source, columns, vectors=vectors)
        with way_out_when_forbidden(place):
            self._query(statement)

    def _tally(self, statement: str) -> Tally:
        tally = Tally()
        for row in self._query(statement):
            if row["outcome"] == DUPLICATE:
                tally.duplicates = row["row_count"]
            elif row["outcome"] == UNKNOWN:
                tally.unknown = row["row_count"]
            else:
                tally.add(RowResult(Outcome(row["outcome"]), row["sample"]), row["row_count"])
        return tally

    def _count(self, table: BigQueryAddress) -> int:
        from google.api_core.exceptions import NotFound

        statement = f"SELECT COUNT(*) AS row_count FROM {table.sql}"
        try:
            rows = self._query(statement)
        except NotFound:
            raise SourceNotReadyError(f"source {table}: there is no such table") from None
        return int(next(iter(rows))["row_count"])

    def _query(self, statement: str) -> Iterable[Row]:
        rows: Iterable[Row] = self._client.query_and_wait(
            statement, api_timeout=_CALL_TIMEOUT, wait_timeout=_QUERY_TIMEOUT
        )
        return rows


def _holds_vectors(output: Table) -> bool:
    """Whether a table is the output of a text-embedding model."""
    return any(field.name == "predictions" for field in output.schema)


def _matching_columns(source: Table, output: Table) -> list[str]:
    """Return the columns that tell the requests of a source table apart, and come back in the output.

    The key columns pass through as they are; ``request`` is echoed in the service's own spelling, so it serves
    only where there are no others. Of a text-embedding model nothing comes back but what it read.
    """
    echoed = {field.name for field in output.schema}
    if _holds_vectors(output):
        echoed &= set(_EMBEDDED)
    columns = [field.name for field in source.schema if field.name in echoed]
    keys = [column for column in columns if column != "request"]
    return keys or columns
