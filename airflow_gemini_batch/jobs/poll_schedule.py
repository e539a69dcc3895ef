"""Polling many jobs at once: which jobs are due, and how many list pages are cheaper than calls by name."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from airflow_gemini_batch.jobs.polling import pause_for

# A full page of 1,000 jobs costs as much processor time as six to eleven calls by name, a page with a few jobs as much
# as one or two (measured: 3.3 ms, 0.5 ms, and 0.3 to 0.5 ms for a call).
CALLS_PER_PAGE = 4

# New waits are first polled within this time: long enough for the thousands of a restarted triggerer to share a list,
# and not at the same instant as those of the triggerer beside it.
FIRST_PAUSE = 1.0

# Clocks of the worker that noted when a job was created, and of the service, may differ by this much.
_CLOCK_SKEW = 60.0

# A job that has waited for this share of its pause joins a round that another job starts.
_JOINS_AFTER = 0.75


@dataclass(slots=True, eq=False)
class PollTimer:
    """When a job is polled next.

    Times called ``now`` are those of a steady clock; those of jobs are wall-clock. All in seconds.

    :param poll_interval: longest pause between two questions.
    :param created: when the job was created, since the epoch, as far as it is known.
    """

    poll_interval: float
    created: float
    due: float = field(default=math.inf, init=False)
    joins: float = field(default=math.inf, init=False)
    """From when on it joins a round that another job starts."""
    notify_by: float = field(default=0.0, init=False)
    """When its waiter wants an answer although nothing has changed, since the epoch."""
    _progress: object = field(default=None, init=False)

    def begin(self, now: float) -> None:
        """Schedule the first poll."""
        self.due = now + min(self.poll_interval, FIRST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
        self.joins = now

    def pause(self, now: float, seconds: float) -> None:
        """Schedule the next poll."""
        self.due = now + seconds
        self.joins = now + seconds * _JOINS_AFTER

    def suspend(self) -> None:
        """Schedule no poll until its waiter has decided what follows."""
        self.due = self.joins = math.inf

    def forget(self) -> None:
        """Let the next answer count as a change, whatever it is."""
        self._progress = None

    def changed(self, progress: object, wall: float) -> bool:
        """Whether to notify the waiter of this answer, which is then the one to compare the next with.

        :param progress: see :class:`.ListedJob`.
        """
        if progress == self._progress and wall < self.notify_by:
            return False
        self._progress = progress
        return True

    def reschedule(self, now: float, wall: float, factor: float) -> None:
        """Schedule the next poll after an answer without a change.

        :param factor: varies the pause; the same for a whole list, so that its jobs stay together.
        """
        seconds = pause_for(wall - self.created, self.poll_interval) * factor
        self.pause(now, min(seconds, self.notify_by - wall))


T = TypeVar("T", bound=PollTimer)


def due_at(timers: Iterable[T], now: float) -> set[T]:
    """Return the jobs to poll in this round: those that are due, and those near enough to join."""
    return {timer for timer in timers if timer.joins <= now}


def pages_worth(jobs: int) -> int:
    """Return how many list pages to read at most for so many jobs; beyond that, calls by name are cheaper."""
    return jobs // CALLS_PER_PAGE


def created_between(timers: Collection[PollTimer]) -> tuple[datetime, datetime]:
    """Return the earliest and latest time at which the jobs were created, with room for skewed clocks."""
    created = [timer.created for timer in timers]
    oldest, newest = min(created) - _CLOCK_SKEW, max(created) + _CLOCK_SKEW
    return datetime.fromtimestamp(oldest, UTC), datetime.fromtimestamp(newest, UTC)
