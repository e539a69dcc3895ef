"""What the answers of earlier runs took, as the bookkeeping of their target tells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.models import is_other_model
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.outputs.usage import Usage
from airflow_gemini_batch.requests.files.rows import read_rows
from airflow_gemini_batch.requests.sources import FileRows, parse_row_source

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

SAMPLED_ROWS = 10_000
"""How many rows of a target file are read; of a table, all are added up."""

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0
_MODEL = "batch_model"


def earlier_usage(
    target: str,
    model: str,
    *,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
) -> Usage:
    """Return what the answers of a model in the target took, all of them together.

    Nothing where there is no target yet, where it was landed without bookkeeping, and where it can't be read: an
    estimate stops no run. Rows without an answer are not in the target, so what they took is not known here.

    :param target: ``bq://`` table, or file.
    :param model: plain or resource name.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        if target.startswith("bq://"):
            rows = _table_usage(bigquery_client(), BigQueryAddress.parse(target))
        else:
            rows = _file_usage(target, storage_client)
        return sum((usage for version, usage in rows if not is_other_model(version, model)), Usage())
    except (GoogleAPIError, GoogleAuthError, InvalidRequestError, OSError, ValueError) as error:
        log.warning(
            "What earlier answers took is not known, because target %s can't be read: %s", target, error
        )
        return Usage()


def _table_usage(client: bigquery.Client, address: BigQueryAddress) -> Iterator[tuple[str, Usage]]:
    table = Tables(client).find(address)
    if table is None:
        return
    counted = _counted({field.name for field in table.schema})
    if not counted:
        return
    rows = client.query_and_wait(
        earlier_usage_query(address, counted),
        location=table.location,
        api_timeout=_CALL_TIMEOUT,
        wait_timeout=_QUERY_TIMEOUT,
    )
    for row in rows:
        yield _usage(row, row["row_count"])


def earlier_usage_query(address: BigQueryAddress, counted: Sequence[str]) -> str:
    """Return the query that adds up tokens by model: ``batch_model``, ``row_count`` and the columns of tokens.

    :param counted: those of the columns of tokens that the table has, the prompt's first.
    """
    sums = ", ".join(f"SUM(IFNULL(earlier.{column}, 0)) AS {column}" for column in counted)
    return (
        f"SELECT earlier.{_MODEL} AS {_MODEL}, COUNT(*) AS row_count, {sums} FROM {address.sql} AS earlier "
        f"WHERE earlier.{counted[0]} IS NOT NULL GROUP BY earlier.{_MODEL}"
    )


def _file_usage(target: str, storage_client: Callable[[], storage.Client]) -> Iterator[tuple[str, Usage]]:
    source = parse_row_source(target)
    if not isinstance(source, FileRows):
        return
    try:
        present = read_rows(source, (), storage_client()).columns
        counted = _counted(present or ())
        if counted:
            rows = read_rows(source, (_MODEL, *counted), storage_client()).rows
            yield from _rows_usage(islice(rows, SAMPLED_ROWS), counted[0])
    except SourceNotReadyError:
        return


def _rows_usage(rows: Iterable[Mapping[str, Any]], certain: str) -> Iterator[tuple[str, Usage]]:
    return (_usage(row, 1) for row in rows if row.get(certain) is not None)


def _counted(columns: Collection[str]) -> list[str]:
    """Return the columns of tokens that a target has; an older one lacks some. None without the prompt's."""
    counted = [column for column in TOKEN_COLUMNS if column in columns]
    return counted if _MODEL in columns and counted[:1] == list(TOKEN_COLUMNS)[:1] else []


def _usage(row: Any, rows: int) -> tuple[str, Usage]:
    counts = {column.removeprefix("batch_"): int(row.get(column) or 0) for column in TOKEN_COLUMNS}
    return str(row.get(_MODEL) or ""), Usage(rows=rows, **counts)
