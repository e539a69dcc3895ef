"""Is the event loop free: the worst lag of a coroutine that wants to run every few milliseconds.

The time that the thread waits for a processor is left out, since other processes take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

_BEAT = 0.01


@dataclass
class Heartbeat:
    """The worst lag so far, in seconds."""

    worst_lag: float = 0.0

    async def beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, waited = loop.time() + _BEAT, _waited()
            await asyncio.sleep(_BEAT)
            self.worst_lag = max(self.worst_lag, loop.time() - due - (_waited() - waited))


def _waited() -> float:
    """Return for how long this thread has waited for a processor so far, in seconds; 0 where the system does not tell.

    https://docs.kernel.org/scheduler/sched-stats.html
    """
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


@contextlib.asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """Measure while the block runs."""
    heart = Heartbeat()
    beating = asyncio.create_task(heart.beat())
    try:
        # It has to be waiting already when the block begins, and to wake up once more after its end.
        await asyncio.sleep(0)
        gc.disable()  # in a process with all that the tests before have left, a collection takes up to a second
        yield heart
        await asyncio.sleep(2 * _BEAT)
    finally:
        gc.enable()
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
