"""What is known of rows before a build: which requests were answered, are being asked or have failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, JOB_COLUMN, QUESTION_COLUMN
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError, as_invalid_request
from airflow_gemini_batch.gcp.tables import Tables, check_readable_whole, without_filter
from airflow_gemini_batch.requests.bigquery.expressions import ROWS, key_text, quoted, types_of
from airflow_gemini_batch.requests.columns import key_texts, texts_of
from airflow_gemini_batch.requests.files.rows import Rows, read_rows
from airflow_gemini_batch.requests.sources import FileRows, parse_row_source
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 600.0


class Place(StrEnum):
    """Where a request is known from."""

    TARGET = "target"
    """Its answer has landed."""

    ASKED = "asked"
    """It is asked at this moment."""

    CANARY = "canary"
    """Its answer is among those of a canary."""

    FAILED = "failed"
    """It has failed for good."""

    TRIED = "tried"
    """It has failed, and may be asked again."""


class Mark(NamedTuple):
    """A request that is known.

    :param key: of its row, as text.
    :param question: id of what the row was asked; empty where that is not known.
    """

    key: str
    fingerprint: str
    place: str = Place.ASKED
    question: str = ""


def read_done_table(
    client: bigquery.Client, table: BigQueryAddress, key: Sequence[str], place: Place = Place.TARGET
) -> Iterator[Mark]:
    """Yield the request of each row of an enriched table; nothing if the table does not exist.

    Raises :class:`.InvalidRequestError` for a table without bookkeeping.
    """
    existing = Tables(client).find(table)
    if existing is None:
        return
    yield from read_marks(client, done_query(table, existing, key, place), existing.location)


def read_marks(client: bigquery.Client, query: str, location: str | None) -> Iterator[Mark]:
    """Yield what a query of :func:`marks_query` gives."""
    rows = client.query_and_wait(
        query, location=location, api_timeout=_CALL_TIMEOUT, wait_timeout=_QUERY_TIMEOUT
    )
    for row in rows:
        yield Mark(row["key_text"], row["fingerprint"], row["place"], row["question"])


def read_done_files(
    target: str, key: Sequence[str], client: storage.Client, place: Place = Place.TARGET
) -> Iterator[Mark]:
    """Yield the request of each row of a file that results land in; nothing if there is no such file yet.

    Raises :class:`.InvalidRequestError` for files without bookkeeping, and for a target that is not a file.
    """
    rows = landed_rows("target", target, (*key, FINGERPRINT_COLUMN, QUESTION_COLUMN), client)
    if rows is None or rows.columns is None:
        return
    _check_columns(target, rows.columns, key)
    columns = [name for name in (FINGERPRINT_COLUMN, QUESTION_COLUMN) if name in rows.columns]
    for piece in rows.pieces:
        texts = texts_of(piece.read(), (*key, *columns))
        keys = key_texts(texts, key).to_pylist()
        fingerprints, *questions = (texts[name].to_pylist() for name in columns)
        for row_key, fingerprint, *question in zip(keys, fingerprints, *questions, strict=True):
            if row_key is not None and fingerprint is not None:
                yield Mark(row_key, fingerprint, place, (question[0] or "") if question else "")


def landed_rows(role: str, where: str, columns: Sequence[str], client: storage.Client) -> Rows | None:
    """Return the rows of a file that results land in; ``None`` if there is no such file yet.

    :param role: what the file is, for messages.
    :param columns: those to read, as far as the file has them.

    Raises :class:`.InvalidRequestError` for what is not a file, and for a file that can't be read.
    """
    with as_invalid_request(role):
        source = parse_row_source(where)
    if not isinstance(source, FileRows):
        raise InvalidRequestError(f"{role} {where} is not a file: give the file that results land in")
    try:
        present = read_rows(source, (), client).columns or ()
        return read_rows(source, [name for name in columns if name in present], client)
    except SourceNotReadyError:
        return None


def read_landed_jobs(
    plan: BuildPlan,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> Iterator[str]:
    """Yield the names of the jobs whose answers or failures have landed; nothing where none have yet."""
    for role, where, job in (
        ("target", plan.target, JOB_COLUMN),
        ("failed_target", plan.failures, "job"),
    ):
        if where is None:
            continue
        if where.startswith("bq://"):
            yield from _jobs_of_table(bigquery_client(), BigQueryAddress.parse(where), job)
        elif (rows := landed_rows(role, where, (job,), storage_client())) and job in (rows.columns or ()):
            yield from {str(row[job]) for row in rows.rows if row.get(job)}


def _jobs_of_table(client: bigquery.Client, address: BigQueryAddress, column: str) -> Iterator[str]:
    table = Tables(client).find(address)
    if table is not None and column in types_of(table.schema):
        rows = client.query_and_wait(
            landed_jobs_query(address, column),
            location=table.location,
            api_timeout=_CALL_TIMEOUT,
            wait_timeout=_QUERY_TIMEOUT,
        )
        yield from (row["job"] for row in rows)


def landed_jobs_query(address: BigQueryAddress, column: str = JOB_COLUMN) -> str:
    """Return the query for the names of the jobs whose answers, or failures, a table holds; column ``job``, STRING."""
    job = f"{ROWS}.{quoted(column)}"
    return f"SELECT DISTINCT {job} AS job FROM {address.sql} AS {ROWS} WHERE {job} IS NOT NULL"


def done_query(
    address: BigQueryAddress, table: bigquery.Table, key: Sequence[str], place: Place = Place.TARGET
) -> str:
    """Return the query for what an enriched table, or a table of requests, holds; its columns are those of a mark.

    Keys are compared as text, since a key that went through files has come back as text.

    Raises :class:`.InvalidRequestError` for a table without bookkeeping or key, or that requires a filter.
    """
    check_readable_whole(table, f"target {address}", without_filter(address))
    types = types_of(table.schema)
    _check_columns(str(address), types, key)
    question = f"IFNULL({ROWS}.{quoted(QUESTION_COLUMN)}, '')" if QUESTION_COLUMN in types else "''"
    return marks_query(address, types, key, f"'{place}'", question)


def marks_query(
    address: BigQueryAddress, types: Mapping[str, str], key: Sequence[str], place: str, question: str = "''"
) -> str:
    """Return the query for the marks of rows that have a key and a fingerprint.

    Its columns are ``key_text``, ``fingerprint``, ``place`` and ``question``, all STRING.

    :param types: GoogleSQL's types of the table's columns.
    :param place: expression over the rows, :data:`.expressions.ROWS`, as ``question``.
    """
    present = [f"{ROWS}.{quoted(column)} IS NOT NULL" for column in (*key, FINGERPRINT_COLUMN)]
    return f"""SELECT
    {key_text(key, types, ROWS)} AS key_text,
    {ROWS}.{quoted(FINGERPRINT_COLUMN)} AS fingerprint,
    {place} AS place,
    {question} AS question
  FROM {address.sql} AS {ROWS}
  WHERE {" AND ".join(present)}"""


def _check_columns(target: str, columns: Iterable[str], key: Sequence[str]) -> None:
    if FINGERPRINT_COLUMN not in columns:
        raise InvalidRequestError(
            f"target {target} has no column {FINGERPRINT_COLUMN!r}: it was landed without bookkeeping, so nothing "
            "tells which of its rows had the same request. Land with bookkeeping=True, or set incremental=False"
        )
    check_key(f"target {target}", columns, key)


def check_key(where: str, columns: Iterable[str], key: Sequence[str]) -> None:
    """Raise :class:`.InvalidRequestError` unless a target has the key's columns."""
    if missing := [column for column in key if column not in columns]:
        raise InvalidRequestError(
            f"{where} has no column {', '.join(map(repr, missing))}, which the key names. "
            f"The columns are: {listed(columns)}"
        )


def check_canary(where: str, columns: Iterable[str], key: Sequence[str]) -> None:
    """Raise :class:`.InvalidRequestError` unless what a canary has landed in tells key and question of its rows."""
    check_key(f"canary {where}", columns, key)
    if QUESTION_COLUMN not in columns:
        raise InvalidRequestError(
            f"canary {where} has no column {QUESTION_COLUMN!r}: it was landed without bookkeeping, so nothing tells "
            "which question its rows answer. Land it with bookkeeping=True"
        )
