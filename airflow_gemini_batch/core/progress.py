"""How far long work on rows is, as the log tells now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from airflow_gemini_batch.core.log import Log

NEWS_EVERY = 30.0
"""Seconds between two lines in the log."""


def is_due(elapsed: float) -> bool:
    """Return whether the log tells how far work is.

    :param elapsed: seconds since the work began, or since the log told so last.
    """
    return elapsed >= NEWS_EVERY


def shown_size(size: int) -> str:
    """Return a number of bytes for people: ``1,234 MB``."""
    return f"{size / 1e6:,.0f} MB"


class Progress:
    """Tells how far work is; work that is done sooner stays without a word.

    :param what: is done, for the message: "building requests".
    :param clock: tells the time, in seconds.
    """

    def __init__(self, log: Log, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._what = what
        self._clock = clock
        self._told = clock()
        self._rows = self._size = 0
        self._adding = Lock()

    def add(self, rows: int, size: int) -> None:
        """Count rows and bytes, and log a line if it is due; threads may call it at a time."""
        with self._adding:
            self._rows += rows
            self._size += size
            self.tell(self._rows, self._size)

    def tell(self, rows: int, size: int) -> None:
        """Log a line if it is due.

        :param rows: so far.
        :param size: bytes so far.
        """
        now = self._clock()
        if is_due(now - self._told):
            self._told = now
            self._log.info("%s: %s rows, %s so far", self._what, f"{rows:,}", shown_size(size))
