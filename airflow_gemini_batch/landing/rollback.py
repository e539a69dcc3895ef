"""The way back: rows of a target as they were before a question was asked, without paying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request
from airflow_gemini_batch.landing.bigquery.previous import PreviousTables
from airflow_gemini_batch.landing.files.rollback import PreviousFiles
from airflow_gemini_batch.landing.previous import Copy, picked
from airflow_gemini_batch.landing.restoring import Change, NewRows, Wish

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def rollback(
    target: str,
    key: Sequence[str],
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
    *,
    question: str | None = None,
    new_rows: NewRows = "keep",
    undo: bool = False,
    dry_run: bool = False,
) -> Change:
    """Take back the answers to a question.

    Rows that answer it now, and are in the copy that was made before its first answers landed, are what they were then,
    all columns. Rows that answer other questions stay as they are, and so do rows that came since unless they are to be
    removed. All rows change at once or none does. Before, the target is copied to ``<target>__before_rollback_…``, from
    which ``undo`` brings back what was replaced or removed, except for rows that were answered since.

    :param key: columns that identify the rows, as for the landing.
    :param question: its id, or the first 8 digits or more; by default that of the newest copy.
    :param new_rows: ``keep`` or ``remove`` the rows that answer the question and are not in the copy.
    :param undo: take a rollback back.
    :param dry_run: count the rows, and change nothing.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when there is no such copy, or rows can't come
    back from it, and :class:`~airflow_gemini_batch.exceptions.GeminiBatchError` when another writer came in between.
    Nothing was changed then.
    """
    wish = Wish(target, tuple(key), new_rows, undo, dry_run)
    previous = _previous(target, storage_client, bigquery_client, log)
    return previous.restore(wish, picked(previous.copies(), target, question, rollback=undo))


def copies_of(
    target: str,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
) -> list[Copy]:
    """Return the copies of a target, the newest first."""
    copies = _previous(target, storage_client, bigquery_client, log).copies()
    return sorted(copies, key=lambda copy: copy.made, reverse=True)


def _previous(
    target: str,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
) -> PreviousTables | PreviousFiles:
    if not target.startswith("bq://"):
        # A file on this machine needs no client.
        return PreviousFiles(storage_client() if "://" in target else None, target)
    with as_invalid_request():
        address = parse_address(target)
    if not isinstance(address, BigQueryAddress) or not address.is_table:
        raise InvalidRequestError(f"target {target} is a dataset: name the table as well")
    return PreviousTables(bigquery_client(), address, log)
