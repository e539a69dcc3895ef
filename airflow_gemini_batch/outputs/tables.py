"""Requests and answers in BigQuery tables: the rows stay there, statements do the work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.classify_sql import DUPLICATE, UNKNOWN, account_statement, tally_statement
from airflow_gemini_batch.outputs.retry_sql import follow_up_statement, mixed_requests_statement
from airflow_gemini_batch.outputs.summary import OutputSummary, hint_when_forbidden
from airflow_gemini_batch.outputs.usage import Usage, UsageByModel
from airflow_gemini_batch.outputs.usage_sql import usage_statement

if TYPE_CHECKING:
    from google.cloud.bigquery import Table


class BigQueryStorage(Tables):
    """The tables of batch jobs: requests, and what came back for them."""

    def tally(self, table: BigQueryAddress) -> Tally | None:
        """Sort the rows of a job's output table; ``None`` when there is no such table."""
        found = self.find(table)
        return None if found is None else self._tally(tally_statement(table, vectors=_family(found).embeds))

    def summarize(self, table: BigQueryAddress, source: BigQueryAddress) -> OutputSummary | None:
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
        vectors = _family(found).embeds
        if columns := _matching_columns(asked, found):
            tally = self._tally(account_statement(table, source, columns, vectors=vectors))
            if tally.unknown <= tally.rows:
                distinguished = tally.rows > 0
                tally.complete(self._count(source))
                if tally.to_retry and self._mixes_requests(asked, source, columns, vectors=vectors):
                    distinguished = False
                write_follow_up = partial(self._write_follow_up, table, source, columns, vectors)
                return OutputSummary(
                    tally, write_follow_up if distinguished else None, partial(self.usage, table)
                )
        tally = self._tally(tally_statement(table, vectors=vectors))
        tally.complete(self._count(source))
        return OutputSummary(tally, count_usage=partial(self.usage, table))

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
            others = [name for name in others if name in TEXT_EMBEDDING.read_columns]
        if not others:
            return False
        rows = self._query(mixed_requests_statement(source, columns, others))
        return bool(next(iter(rows))["row_count"])

    def _write_follow_up(
        self,
        table: BigQueryAddress,
        source: BigQueryAddress,
        columns: Sequence[str],
        vectors: bool,
        place: Address,
    ) -> None:
        """Write the rows of a source that are worth another job to a table that goes by itself after some days."""
        # Requests of a follow-up lie where those of the source do: jobs.submission.follow_up_address sees to it.
        address = cast("BigQueryAddress", place)
        statement = follow_up_statement(address, table, source, columns, vectors=vectors)
        with hint_when_forbidden(place):
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


def _family(output: Table) -> ModelFamily:
    """Return the family of the model that wrote a table."""
    columns = {field.name for field in output.schema}
    return TEXT_EMBEDDING if TEXT_EMBEDDING.answer_column in columns else GENERATE_CONTENT


def _matching_columns(source: Table, output: Table) -> list[str]:
    """Return the columns that tell the requests of a source table apart, and come back in the output.

    The key columns pass through as they are; ``request`` is echoed in the service's own spelling, so it serves
    only where there are no others. Of a text-embedding model nothing comes back but what it read.
    """
    echoed = {field.name for field in output.schema}
    family = _family(output)
    if not family.returns_keys:
        echoed &= set(family.read_columns)
    columns = [field.name for field in source.schema if field.name in echoed]
    keys = [column for column in columns if column != "request"]
    return keys or columns
