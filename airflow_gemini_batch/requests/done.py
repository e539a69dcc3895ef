"""The rows that a target holds already: the key and the fingerprint of each, out of a table or out of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, JOB_COLUMN
from airflow_gemini_batch.core.keys import key_text as key_text_of
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.core.values import is_null
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.requests.bigquery.expressions import key_text, quoted, types_of
from airflow_gemini_batch.requests.files.rows import read_rows
from airflow_gemini_batch.requests.sources import FileRows, parse_row_source
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0


def read_done_table(
    client: bigquery.Client, table: BigQueryAddress, key: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield key, as text, and fingerprint of each row of an enriched table; nothing if the table does not exist.

    Raises :class:`.InvalidRequestError` for a table without bookkeeping.
    """
    existing = Tables(client).find(table)
    if existing is None:
        return
    rows = client.query_and_wait(
        done_query(table, existing, key),
        location=existing.location,
        api_timeout=_CALL_TIMEOUT,
        wait_timeout=_QUERY_TIMEOUT,
    )
    for row in rows:
        yield row["key_text"], row["fingerprint"]


def read_done_files(plan: BuildPlan, client: storage.Client) -> Iterator[tuple[str, str]]:
    """Yield key, as text, and fingerprint of each row of ``plan.done_target``; nothing if there is no such file yet.

    Raises :class:`.InvalidRequestError` for files without bookkeeping, and for a target that is not a file.
    """
    if plan.done_target is None:
        return
    try:
        source = parse_row_source(plan.done_target)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"target: {error}") from None
    if not isinstance(source, FileRows):
        raise InvalidRequestError(
            f"target {plan.done_target} is not a file: give the file that results land in"
        )
    try:
        rows = read_rows(source, (*plan.key, FINGERPRINT_COLUMN), client)
    except SourceNotReadyError:
        return
    if rows.columns is None:
        return
    _check_columns(plan.done_target, rows.columns, plan.key)
    for row in rows.rows:
        key = [row.get(column) for column in plan.key]
        fingerprint = row.get(FINGERPRINT_COLUMN)
        if fingerprint is not None and not any(map(is_null, key)):
            yield key_text_of(key), str(fingerprint)


def read_landed_jobs(
    plan: BuildPlan,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> Iterator[str]:
    """Yield the names of the jobs whose answers are in ``plan.target``; nothing if it does not exist yet."""
    if plan.target is None:
        return
    if plan.target.startswith("bq://"):
        address, client = BigQueryAddress.parse(plan.target), bigquery_client()
        table = Tables(client).find(address)
        if table is not None and JOB_COLUMN in types_of(table.schema):
            job = quoted(JOB_COLUMN)
            rows = client.query_and_wait(
                f"SELECT DISTINCT {job} AS job FROM {address.sql} WHERE {job} IS NOT NULL",
                location=table.location,
                api_timeout=_CALL_TIMEOUT,
                wait_timeout=_QUERY_TIMEOUT,
            )
            yield from (row["job"] for row in rows)
        return
    source = parse_row_source(plan.target)
    if not isinstance(source, FileRows):
        return
    with suppress(SourceNotReadyError):
        rows_of_files = read_rows(source, (JOB_COLUMN,), storage_client())
        if JOB_COLUMN in (rows_of_files.columns or ()):
            yield from {str(row[JOB_COLUMN]) for row in rows_of_files.rows if row.get(JOB_COLUMN)}


def done_query(address: BigQueryAddress, table: bigquery.Table, key: Sequence[str]) -> str:
    """Return the query for what an enriched table holds: ``key_text`` and ``fingerprint``, both STRING.

    Keys are compared as text, since a key that went through files has come back as text.

    Raises :class:`.InvalidRequestError` for a table without bookkeeping or key.
    """
    types = types_of(table.schema)
    _check_columns(str(address), types, key)
    present = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in (*key, FINGERPRINT_COLUMN))
    return f"""SELECT DISTINCT
    {key_text(key, types)} AS key_text,
    {quoted(FINGERPRINT_COLUMN)} AS fingerprint
  FROM {address.sql}
  WHERE {present}"""


def _check_columns(target: str, columns: Iterable[str], key: Sequence[str]) -> None:
    if FINGERPRINT_COLUMN not in columns:
        raise InvalidRequestError(
            f"target {target} has no column {FINGERPRINT_COLUMN!r}: it was landed without bookkeeping, so nothing "
            "tells which of its rows had the same request. Land with bookkeeping=True, or set incremental=False"
        )
    if missing := [column for column in key if column not in columns]:
        raise InvalidRequestError(
            f"target {target} has no column {', '.join(map(repr, missing))}, which the key names. "
            f"The columns are: {listed(columns)}"
        )
