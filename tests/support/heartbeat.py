"""Is the event loop free: the worst lag of a coroutine that wants to run every few milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

_BEAT = 0.01


@dataclass
class Heartbeat:
    """The worst lag so far, in seconds."""

    worst_lag: float = 0.0

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _BEAT
            await asyncio.sleep(_BEAT)
            self.worst_lag = max(self.worst_lag, loop.time() - due)


@contextlib.asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """Measure while the block runs."""
    heart = Heartbeat()
    beating = asyncio.create_task(heart.beat())
    try:
        # It has to be waiting already when the block begins, and to wake up once more after its end.
        await asyncio.sleep(0)
        yield heart
        await asyncio.sleep(2 * _BEAT)
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
