"""Copies of a table before the first answers to a question land in it, and the rows that a rollback brings back."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import QUESTION_COLUMN, previous_target_of
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.gcp.queries import CALL_TIMEOUT, Queries
from airflow_gemini_batch.gcp.tables import Tables, check_readable_whole, without_filter
from airflow_gemini_batch.landing.bigquery.previous_sql import (
    Restoring,
    clone_statement,
    previous_rows_statement,
)
from airflow_gemini_batch.landing.bigquery.targets import column_types
from airflow_gemini_batch.landing.previous import KEPT_ROLLED_BACK, Copy
from airflow_gemini_batch.landing.restoring import Change, Wish, check_columns, no_key_twice

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table

_SPARE_KEPT = timedelta(days=1)


def keep_previous_table(
    queries: Queries,
    client: Client,
    target: BigQueryAddress,
    table: Table | None,
    questions: Iterable[str],
    kept: timedelta,
    log: Log,
) -> None:
    """Copy a table for each question that none of its rows answers yet, unless it is empty.

    The copy takes its place only after it was seen to hold no row that answers the question: another landing may have
    come in between, which has made the copy then.

    :param table: as it is before the landing; ``None`` when there is none.
    """
    if table is None:
        return
    has_question = QUESTION_COLUMN in column_types(table.schema)

    def is_before(address: BigQueryAddress, question: str) -> bool:
        statement = previous_rows_statement(address, question, has_question=has_question)
        (counts,) = queries.run(statement, table.location)
        return bool(counts["row_count"]) and not counts["answered_count"]

    for question in questions:
        if not is_before(target, question):
            continue
        copy = BigQueryAddress.parse(previous_target_of(str(target), question))
        spare = target.with_table(f"{copy.table}_{secrets.token_hex(4)}")
        queries.run(clone_statement(target, spare, _SPARE_KEPT), table.location)
        try:
            if is_before(spare, question):
                queries.run(clone_statement(spare, copy, kept), table.location)
                log.info(
                    "%s is copied to %s before the first answers to the question %s land",
                    target,
                    copy,
                    question,
                )
        finally:
            client.delete_table(spare.dotted, not_found_ok=True, timeout=CALL_TIMEOUT)


class PreviousTables:
    """The copies of a table.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    """

    def __init__(self, client: Client, target: BigQueryAddress, log: Log) -> None:
        self._client = client
        self._target = target
        self._queries = Queries(client, log)
        self._tables = Tables(client)

    def copies(self) -> list[Copy]:
        """Return the copies that there are."""
        from google.api_core.exceptions import NotFound

        dataset = f"{self._target.project}.{self._target.dataset}"
        try:
            listed = list(self._client.list_tables(dataset, timeout=CALL_TIMEOUT))
        except NotFound:
            raise InvalidRequestError(
                f"target {self._target}: the dataset {dataset} does not exist"
            ) from None
        found = (
            Copy.of(str(self._target), str(self._target.with_table(one.table_id)), one.created)
            for one in listed
        )
        return [copy for copy in found if copy]

    def restore(self, wish: Wish, copy: Copy) -> Change:
        """Bring rows back; see :func:`airflow_gemini_batch.landing.rollback.rollback`."""
        from google.api_core.exceptions import GoogleAPICallError

        table = self._table(str(self._target))
        copied = self._table(copy.address)
        columns, there = column_types(table.schema), column_types(copied.schema)
        check_readable_whole(table, str(self._target), without_filter(self._target))
        check_columns(wish, str(self._target), columns, copy.address, there)
        restoring = Restoring(
            self._target,
            BigQueryAddress.parse(copy.address),
            wish.key,
            columns,
            frozenset(name for name in columns if name in there),
            copy.question,
            copy.made,
            wish.undo,
            wish.removes,
        )
        (counts,) = self._queries.run(restoring.restored_rows_statement(), table.location)
        no_key_twice(copy.address, wish.key, counts["twice_count"])
        change = wish.change(
            copy,
            back=counts["back_count"],
            new=counts["new_count"],
            emptied=() if wish.undo else [name for name in columns if name not in there],
        )
        if wish.dry_run or not change.changes:
            return change
        if change.saved:
            saved = BigQueryAddress.parse(change.saved)
            self._queries.run(clone_statement(self._target, saved, KEPT_ROLLED_BACK), table.location)
        try:
            self._queries.run(restoring.restore_statement(), table.location)
        except GoogleAPICallError as error:
            raise GeminiBatchError(
                f"{self._target}: no row was changed, as BigQuery refused the statement: {error}. When another "
                "statement was changing the table, run this again"
            ) from error
        return change

    def _table(self, address: str) -> Table:
        table = self._tables.find(BigQueryAddress.parse(address))
        if table is None:
            raise InvalidRequestError(f"{address}: there is no such table")
        return table
