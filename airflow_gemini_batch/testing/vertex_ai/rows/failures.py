"""Rows that fail although nothing is wrong with them, the same ones for the same seed."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

from airflow_gemini_batch.testing.vertex_ai.errors import RowError

BLOCKED = "BLOCKED"
_PLAIN_REFUSAL = ("INVALID_ARGUMENT", "Request contains an invalid argument.")
# Of a hundred failing rows; the rest of the table's meaning is in RowFailures.
_SPLIT: tuple[tuple[int, str, str], ...] = (
    (40, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
    (20, "UNAVAILABLE", "The service is currently unavailable."),
    (10, "INTERNAL", "Internal error encountered."),
    (20, *_PLAIN_REFUSAL),
    (10, BLOCKED, "PROHIBITED_CONTENT"),
)
_PERMANENT = frozenset({"INVALID_ARGUMENT", BLOCKED})


class RowFailures:
    """Decides which rows fail.

    Of the failing rows 40 % get 429, 20 % 503, 10 % 500 (all worth a retry), 20 % 400 and 10 % a blocked
    prompt (these two for ever). A row that got one of the first three and comes back in a later job is
    judged again, so that a retry succeeds as often as it would have the first time.

    :param rate: share of the rows that fail, 0 to 1.
    """

    def __init__(self, *, rate: float, seed: int) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"fail_rate must be between 0 and 1, got {rate}")
        self._rate = rate
        self._seed = seed
        self._failed_before: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def decide(self, row: bytes, *, can_block: bool = True) -> RowError | None:
        """Return the failure of a row, given as its canonical bytes; the status :data:`BLOCKED` is not an error code.

        :param can_block: whether the model knows blocked prompts; the row gets a 400 where it does not.
        """
        if not self._rate:
            return None
        identity = hashlib.blake2b(row, digest_size=12).digest()
        with self._lock:
            chance, kind = self._draw(identity, attempt=self._failed_before[identity])
            if chance >= self._rate:
                return None
            status, message = _pick(kind)
            if status == BLOCKED and not can_block:
                status, message = _PLAIN_REFUSAL
            if status not in _PERMANENT:
                self._failed_before[identity] += 1
        return RowError(status, message)

    def _draw(self, identity: bytes, attempt: int) -> tuple[float, float]:
        salt = f"{self._seed}/{attempt}".encode()
        digest = hashlib.blake2b(identity + salt, digest_size=16).digest()
        return int.from_bytes(digest[:8], "big") / 2**64, int.from_bytes(digest[8:], "big") / 2**64


def _pick(share: float) -> tuple[str, str]:
    reached = 0
    for percent, status, message in _SPLIT:
        reached += percent
        if share * 100 < reached:
            return status, message
    raise AssertionError("the split does not add up to a hundred")
