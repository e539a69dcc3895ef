"""The rows that some jobs have left without an answer, by kind, out of a table or a file of failures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FAILED_COLUMNS
from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.core.summary import FailedRows
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.requests.bigquery.expressions import ROWS, types_of
from airflow_gemini_batch.requests.bigquery.expressions import key_text as key_expression
from airflow_gemini_batch.requests.done import landed_rows

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

SHOWN_KEYS = 3
"""How many keys of one kind are shown."""

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0


def failed_rows(
    where: str,
    key: Sequence[str],
    jobs: Collection[str],
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> list[FailedRows]:
    """Return the failed rows of some jobs by outcome and code, the most frequent first, with the keys of a few.

    :param where: the table or file that the failures have landed in.
    :param key: names of the key's columns.
    :param jobs: resource names.

    Raises what the clients raise.
    """
    if where.startswith("bq://"):
        return _of_table(bigquery_client(), BigQueryAddress.parse(where), key, jobs)
    return _of_file(where, key, jobs, storage_client())


def _of_table(
    client: bigquery.Client, address: BigQueryAddress, key: Sequence[str], jobs: Collection[str]
) -> list[FailedRows]:
    table = Tables(client).find(address)
    if table is None:
        return []
    statement = failed_rows_statement(address, table, key, jobs)
    rows = client.query_and_wait(
        statement.sql,
        job_config=statement.job_config(),
        location=table.location,
        api_timeout=_CALL_TIMEOUT,
        wait_timeout=_QUERY_TIMEOUT,
    )
    return [
        FailedRows(
            row["outcome"], row["message"] or "", row["row_count"], tuple(row["sample_keys"]), row["code"]
        )
        for row in rows
    ]


def failed_rows_statement(
    address: BigQueryAddress, table: bigquery.Table, key: Sequence[str], jobs: Collection[str]
) -> Statement:
    """Return the statement for the failed rows of some jobs by ``outcome`` and ``code``.

    Its other columns are ``row_count``, ``message`` (of one of them) and ``sample_keys`` (list of texts).
    """
    text = key_expression(key, types_of(table.schema), ROWS)
    sql = f"""SELECT
  {ROWS}.outcome AS outcome,
  {ROWS}.code AS code,
  COUNT(*) AS row_count,
  MIN({ROWS}.message) AS message,
  ARRAY_AGG({text} ORDER BY {text} LIMIT {SHOWN_KEYS}) AS sample_keys
FROM {address.sql} AS {ROWS}
WHERE {ROWS}.job IN UNNEST(@jobs)
GROUP BY 1, 2
ORDER BY 3 DESC, 1, 2"""
    return Statement(sql, given={"jobs": sorted(jobs)})


def _of_file(
    where: str, key: Sequence[str], jobs: Collection[str], client: storage.Client
) -> list[FailedRows]:
    found = landed_rows("failed_target", where, (*key, *FAILED_COLUMNS), client)
    counts: dict[tuple[str, int | None], int] = {}
    messages: dict[tuple[str, int | None], str] = {}
    keys: dict[tuple[str, int | None], list[str]] = {}
    for row in found.rows if found else ():
        if row.get("job") not in jobs:
            continue
        kind = str(row.get("outcome")), row.get("code")
        counts[kind] = counts.get(kind, 0) + 1
        message = str(row.get("message") or "")
        messages[kind] = min(messages.get(kind, message), message)
        # The file is sorted by key.
        if len(shown := keys.setdefault(kind, [])) < SHOWN_KEYS:
            shown.append(key_text([row.get(column) for column in key]))
    return [
        FailedRows(outcome, messages[outcome, code], count, tuple(keys[outcome, code]), code)
        for (outcome, code), count in sorted(
            counts.items(), key=lambda one: (-one[1], one[0][0], one[0][1] or 0)
        )
    ]
