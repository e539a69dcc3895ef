"""What has been asked of the server: a counter by method and the last calls."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any

_KEPT = 10_000


@dataclass(slots=True)
class Call:
    """One call.

    :param method: ``create``, ``get``, ``list``, ``cancel``, ``delete``, ``operation``, ``model`` or ``unknown``.
    :param at: when it arrived, RFC 3339.
    :param status: HTTP status of the answer; 0 while there is none, and for a dropped connection.
    """

    method: str
    at: str
    path: str
    query: str
    status: int = 0


class CallLog:
    """Counts calls and remembers the last 10,000. Safe to read from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._calls: deque[Call] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def add(self, call: Call) -> None:
        """Count a call that has arrived."""
        with self._lock:
            self._counts[call.method] += 1
            self._calls.append(call)

    @property
    def counts(self) -> dict[str, int]:
        """Calls by method since the start or the last :meth:`clear`."""
        with self._lock:
            return dict(self._counts)

    def calls(self, method: str | None = None) -> list[dict[str, Any]]:
        """Return the last calls, oldest first: method, at, path, query, status."""
        with self._lock:
            return [asdict(call) for call in self._calls if method in (None, call.method)]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._counts.clear()
            self._calls.clear()
