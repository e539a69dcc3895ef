"""Wait for something that comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

_READY_WITHIN = 180.0


def wait_for(ready: Callable[[], bool], complaint: str, within: float = _READY_WITHIN) -> None:
    """Return once ``ready``; raises :class:`RuntimeError` when that takes too long."""
    deadline = time.monotonic() + within
    while not ready():
        if time.monotonic() > deadline:
            raise RuntimeError(complaint)
        time.sleep(0.3)
