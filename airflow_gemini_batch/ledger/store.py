"""Where the records of runs are kept, and what ledgers in tables and in files have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import orjson

from airflow_gemini_batch.exceptions import LedgerError
from airflow_gemini_batch.ledger.record import RunRecord


class Ledger(Protocol):
    """The records of runs, one for each run. All methods raise :class:`.LedgerError` when it can't be asked."""

    @property
    def address(self) -> str:
        """Where it is."""

    def exists(self) -> bool:
        """Whether there is a ledger at the address."""

    def put(self, record: RunRecord) -> None:
        """Insert a record, or replace the one of the same run. Writers of other runs may do so at the same time."""

    def find(self, run: str) -> RunRecord | None:
        """Return the record of a run; ``None`` where there is none."""

    def records(self, since: datetime | None = None) -> list[RunRecord]:
        """Return the records, the oldest first; none where there is no ledger yet.

        :param since: leaves out the runs in which nothing has happened since then.
        """


def is_since(record: RunRecord, since: datetime | None) -> bool:
    """Whether something has happened in a run since a time."""
    return since is None or max(record.started, record.ended or record.started) >= since


def in_order(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return records, the oldest first."""
    return sorted(records, key=lambda record: (record.started, record.run))


def parsed(text: str | bytes, where: str) -> RunRecord:
    """Read a record.

    :param where: it was, for the message.

    Raises :class:`.LedgerError` for another text: what it stands for is not known, and not nothing.
    """
    try:
        return RunRecord.from_json(orjson.loads(text))
    except ValueError as error:
        raise LedgerError(
            f"{where} can't be read as the record of a run ({error}), so it is not known what was spent. Remove it if "
            "it is not a record, or restore it"
        ) from None


@contextmanager
def asking(address: str, what: str) -> Iterator[None]:
    """Turn what the clients raise, while a ledger is asked, into :class:`.LedgerError`.

    :param what: is done, for the message: ``read``.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, RequestException, OSError) as error:
        raise LedgerError(f"the ledger of runs {address} could not be {what}: {error}") from error
