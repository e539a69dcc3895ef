"""The requests that have failed, for good or not, out of a table or a file of failures.

What no column tells is asked again, so that failures of earlier releases, which lack some, do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FAILED_COLUMNS, FINGERPRINT_COLUMN, TIMES_FAILED_COLUMN
from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.outcomes import failed_for_good, failed_for_good_sql
from airflow_gemini_batch.core.values import is_null
from airflow_gemini_batch.exceptions import as_invalid_request
from airflow_gemini_batch.gcp.tables import Tables, check_readable_whole, without_filter
from airflow_gemini_batch.requests.bigquery.expressions import ROWS, types_of
from airflow_gemini_batch.requests.done import Mark, Place, check_key, landed_rows, marks_query, read_marks
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def read_failed(
    plan: BuildPlan,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
) -> Iterator[Mark]:
    """Yield the request of each row of ``plan.kept_failures``; nothing where there are none yet.

    Raises :class:`.InvalidRequestError` for failures without the key's columns and for a file that can't be read.
    """
    where = plan.kept_failures
    if where is None:
        return
    if where.startswith("bq://"):
        with as_invalid_request("failed_target"):
            address = BigQueryAddress.parse(where)
        table = Tables(bigquery_client()).find(address)
        if table is not None and (query := failed_query(plan, address, table, log)):
            yield from read_marks(bigquery_client(), query, table.location)
        return
    yield from _read_file(plan, where, storage_client(), log)


def failed_query(plan: BuildPlan, address: BigQueryAddress, table: bigquery.Table, log: Log) -> str | None:
    """Return the query of :func:`.marks_query` for the failures; ``None`` for a table that does not tell.

    Raises :class:`.InvalidRequestError` for a table without the key's columns, or that requires a filter.
    """
    check_readable_whole(table, f"failed_target {address}", without_filter(address))
    types = types_of(table.schema)
    check_key(f"failed_target {address}", types, plan.key)
    if not _tells(types, str(address), log):
        return None
    code = f"{ROWS}.code" if "code" in types else "NULL"
    times = f"IFNULL({ROWS}.{TIMES_FAILED_COLUMN}, 1)" if TIMES_FAILED_COLUMN in types else "1"
    place = f"'{Place.TRIED}'"
    if plan.ask_failed_again is not None:
        for_good = f"{failed_for_good_sql(f'{ROWS}.outcome', code)} AND {times} > {plan.ask_failed_again}"
        place = f"IF({for_good}, '{Place.FAILED}', '{Place.TRIED}')"
    return marks_query(address, types, plan.key, place)


def _read_file(plan: BuildPlan, where: str, client: storage.Client, log: Log) -> Iterator[Mark]:
    rows = landed_rows("failed_target", where, (*plan.key, *FAILED_COLUMNS), client)
    if rows is None or rows.columns is None:
        return
    check_key(f"failed_target {where}", rows.columns, plan.key)
    if not _tells(rows.columns, where, log):
        return
    for row in rows.rows:
        key, fingerprint = [row.get(column) for column in plan.key], row.get(FINGERPRINT_COLUMN)
        if fingerprint is None or any(map(is_null, key)):
            continue
        times, most = row.get(TIMES_FAILED_COLUMN), plan.ask_failed_again
        for_good = most is not None and failed_for_good(row.get("outcome"), row.get("code"))
        place = Place.FAILED if for_good and (1 if times is None else times) > (most or 0) else Place.TRIED
        yield Mark(key_text(key), str(fingerprint), place)


def _tells(columns: Collection[str], where: str, log: Log) -> bool:
    if missing := [name for name in (FINGERPRINT_COLUMN, "outcome") if name not in columns]:
        log.warning(
            "%s has no column %s, so rows that have failed for good may be asked again",
            where,
            " and ".join(missing),
        )
    return not missing
