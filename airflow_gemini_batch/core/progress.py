"""How far long work is, said in the log now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_gemini_batch.core.log import Log

EVERY = 30.0
"""Seconds between two lines of the log."""


def progress_line(rows: int, size: int, total: int, seconds: float, *, silent_for: float) -> str | None:
    """Return what the log says of work that is under way; ``None`` while it is too early to say something again.

    :param size: bytes that are done.
    :param total: bytes of all of it; 0 if nobody knows.
    :param seconds: since the work began.
    :param silent_for: seconds since the log has said something.
    """
    if silent_for < EVERY:
        return None
    whole = f" of {total / 1e6:,.0f} MB ({min(size / total, 1):.0%})" if total else " MB"
    return f"{rows:,} rows, {size / 1e6:,.0f}{whole}, {rows / seconds:,.0f} rows a second"


@dataclass(slots=True)
class Progress:
    """Counts what is done, and says it in the log each :data:`EVERY` seconds.

    :param what: what is done to what, such as ``reading answers``.
    :param total: bytes of all of it; 0 if nobody knows.
    :param clock: gives the time in seconds.
    """

    log: Log
    what: str
    total: int = 0
    clock: Callable[[], float] = time.monotonic
    rows: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    _began: float = field(init=False)
    _said: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._said = self.clock()

    def add(self, rows: int, size: int) -> None:
        """Count rows, and bytes, that are done."""
        self.rows += rows
        self.size += size
        now = self.clock()
        line = progress_line(self.rows, self.size, self.total, now - self._began, silent_for=now - self._said)
        if line:
            self._said = now
            self.log.info("%s: %s", self.what, line)
