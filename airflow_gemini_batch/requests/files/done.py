"""Rows that are done already, read from the files that results land in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN
from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.requests.files.rows import read_rows
from airflow_gemini_batch.requests.sources import FileRows, parse_row_source
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud.storage import Client


def read_done_files(plan: BuildPlan, client: Client) -> Iterator[tuple[str, str]]:
    """Yield key, as text, and fingerprint of each row of ``plan.done_target``; none when there is no such file yet.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for files without bookkeeping, and for what is
    no file.
    """
    if plan.done_target is None:
        return
    try:
        source = parse_row_source(plan.done_target)
    except ValueError as error:
        raise InvalidRequestError(f"target: {error}") from None
    if not isinstance(source, FileRows):
        raise InvalidRequestError(f"target {plan.done_target} is no file: give the file that results land in")
    try:
        rows = read_rows(source, (*plan.key, FINGERPRINT_COLUMN), client)
    except SourceNotReadyError:
        return
    if rows.columns is None:
        return
    if FINGERPRINT_COLUMN not in rows.columns:
        raise InvalidRequestError(
            f"target {plan.done_target} has no column {FINGERPRINT_COLUMN!r}: it was landed without bookkeeping, so "
            "nothing tells which of its rows were asked the same. Land with bookkeeping=True, or set "
            "incremental=False"
        )
    if missing := [column for column in plan.key if column not in rows.columns]:
        raise InvalidRequestError(
            f"target {plan.done_target} has no column {', '.join(map(repr, missing))}, which the key names. "
            f"The columns are: {', '.join(rows.columns)}"
        )
    for row in rows.rows:
        key = [row.get(column) for column in plan.key]
        fingerprint = row.get(FINGERPRINT_COLUMN)
        if fingerprint is not None and not any(value is None for value in key):
            yield key_text(key), str(fingerprint)
