"""Requests and answers in BigQuery tables; the rows stay there."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.gcp.queries import Queries
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.gcp.tables import Tables, columns_of
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.matching_sql import DUPLICATE, UNKNOWN, TableMatch
from airflow_gemini_batch.outputs.summary import OutputSummary, hint_when_forbidden
from airflow_gemini_batch.outputs.tally_sql import tally_statement
from airflow_gemini_batch.outputs.usage import UsageByModel, merge_usage, usage_by_model
from airflow_gemini_batch.outputs.usage_sql import usage_statement

if TYPE_CHECKING:
    from google.cloud.bigquery import Row, Table
    from google.cloud.bigquery.table import RowIterator

_log = ShownLog(logging.getLogger(__name__))


class BigQueryStorage(Tables):
    """The tables of batch jobs: requests, and what came back for them."""

    def count_requests(self, sources: Sequence[BigQueryAddress]) -> int:
        """Return the number of rows of the sources."""
        return sum(self._count(source) for source in sources)

    def tally(self, output: BigQueryAddress) -> Tally | None:
        """Sort the rows of a job's output table; returns None if there is no such table."""
        table = self.find(output)
        return (
            None
            if table is None
            else _tally(self._query(tally_statement(output, _family(table), dict(columns_of(table)))))
        )

    def summarize(self, output: BigQueryAddress, requests: Sequence[BigQueryAddress]) -> OutputSummary | None:
        """Sort the rows of a job's output table by the requests of its source table.

        Returns None if there is no output table. Rows are matched by the columns that pass through; if those do not
        match, the rows are counted only.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when the source is gone.
        """
        (source,) = requests  # One job reads one table.
        table, source_table = self.find(output), self.find(source)
        if table is None:
            return None
        if source_table is None:
            raise SourceNotReadyError(f"source {source}: there is no such table")
        match = TableMatch.of(
            output,
            source,
            _family(table),
            output_columns=dict(columns_of(table)),
            source_columns=_column_names(source_table),
        )
        rows = list(self._query(match.summary_statement()))
        tally = _tally(rows, surplus=True)
        is_matched = bool(match.columns) and 0 < tally.rows >= tally.unknown
        if not is_matched:
            tally = _tally(rows, surplus=False)
        tally.complete(sum(row["request_count"] for row in rows))
        are_alike = any(row["most_alike"] > 1 for row in rows)
        write_follow_up = None
        if is_matched and not (tally.to_retry and are_alike and self._mixes_requests(match)):
            write_follow_up = partial(self._write_follow_up, match)
        usage = merge_usage(*(usage_by_model([row]) for row in rows if row["is_counted"]))
        return OutputSummary(tally, write_follow_up, lambda: usage)

    def usage(self, output: BigQueryAddress) -> UsageByModel:
        """Add up the tokens of a job's output table; returns nothing if there is no such table."""
        table = self.find(output)
        return usage_by_model(
            () if table is None else self._query(usage_statement(output, _column_names(table)))
        )

    def _count(self, table: BigQueryAddress) -> int:
        from google.api_core.exceptions import NotFound

        try:
            rows = self._query(f"SELECT COUNT(*) AS row_count FROM {table.sql}")
        except NotFound:
            raise SourceNotReadyError(f"source {table}: there is no such table") from None
        return int(next(iter(rows))["row_count"])

    def _query(self, statement: str) -> RowIterator:
        return Queries(self._client, _log).run(Statement(statement), None)

    def _mixes_requests(self, match: TableMatch) -> bool:
        return bool(match.others) and bool(next(iter(self._query(match.mixed_statement())))["row_count"])

    def _write_follow_up(self, match: TableMatch, address: BigQueryAddress) -> None:
        with hint_when_forbidden(address):
            self._query(match.follow_up_statement(address))


def _tally(rows: Iterable[Row], *, surplus: bool = False) -> Tally:
    """Return the outcomes of rows that a statement has counted.

    :param surplus: count rows that are beyond the requests, or answer none, by no outcome.
    """
    tally = Tally()
    for row in rows:
        kind = row["surplus"] if surplus else ""
        if row["outcome"] is None:
            continue  # Requests without an answer.
        if kind == DUPLICATE:
            tally.duplicates += row["row_count"]
        elif kind == UNKNOWN:
            tally.unknown += row["row_count"]
        else:
            tally.add(RowResult(Outcome(row["outcome"]), row["sample"]), row["row_count"])
    return tally


def _column_names(table: Table) -> list[str]:
    return [field.name for field in table.schema]


def _family(output: Table) -> ModelFamily:
    """Return the family of the model that wrote a table."""
    columns = _column_names(output)
    wrote = (
        family for family in FAMILIES.values() if family.takes_tables and family.answer_column in columns
    )
    return next(wrote, GENERATE_CONTENT)
