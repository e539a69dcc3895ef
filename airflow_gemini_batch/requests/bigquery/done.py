"""The rows that an enriched table holds already, as the keys and fingerprints of what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.requests.bigquery.columns import key_text, quoted, types_of

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class DoneRows:
    """An enriched table, with bookkeeping.

    :param types: GoogleSQL's types of its columns.
    """

    table: BigQueryAddress
    types: Mapping[str, str]


def read_done(client: Client, table: BigQueryAddress, key: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield key, as text, and fingerprint of each row of an enriched table; none when there is no such table.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a table without bookkeeping.
    """
    found = Tables(client).find(table)
    if found is None:
        return
    rows = client.query_and_wait(
        done_query(done_rows(table, found, key), key),
        location=found.location,
        api_timeout=_CALL_TIMEOUT,
        wait_timeout=_QUERY_TIMEOUT,
    )
    for row in rows:
        yield row["key_text"], row["fingerprint"]


def done_rows(address: BigQueryAddress, table: Table, key: Sequence[str]) -> DoneRows:
    """Return what the statements need to know of an enriched table.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for one without bookkeeping or key.
    """
    types = types_of(table.schema)
    if FINGERPRINT_COLUMN not in types:
        raise InvalidRequestError(
            f"target {address} has no column {FINGERPRINT_COLUMN!r}: it was landed without bookkeeping, so it can't "
            "be told which of its rows were asked the same. Land with bookkeeping=True, or set incremental=False"
        )
    if missing := [column for column in key if column not in types]:
        raise InvalidRequestError(
            f"target {address} has no column {', '.join(map(repr, missing))}, which the key names. "
            f"The columns are: {', '.join(types)}"
        )
    return DoneRows(address, types)


def done_query(done: DoneRows, key: Sequence[str]) -> str:
    """Return the query for what an enriched table holds: ``key_text`` and ``fingerprint``, both STRING.

    Keys are compared as text, since a key that went through files has come back as one.
    """
    present = " AND ".join(f"{quoted(column)} IS NOT NULL" for column in (*key, FINGERPRINT_COLUMN))
    return f"""SELECT DISTINCT
    {key_text(key, done.types)} AS key_text,
    {quoted(FINGERPRINT_COLUMN)} AS fingerprint
  FROM {done.table.sql}
  WHERE {present}"""
