"""Asking about many jobs at once: whose turn it is, and what to list so that few have to be asked by name."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from airflow_gemini_batch.jobs.polling import pause_for
from airflow_gemini_batch.jobs.state import JobState

# A full page of 1,000 jobs costs as much processor time as six to eleven questions by name, a page with a few
# jobs as much as one or two (measured: 3.3 ms, 0.5 ms, and 0.3 to 0.5 ms for a question).
QUESTIONS_PER_PAGE = 4

# New waits are first asked about within this time: long enough for thousands that a restarted triggerer takes up
# to share a list, and not at the same instant as those of the triggerer beside it.
FIRST_PAUSE = 1.0

# Clocks of the worker that noted when a job was created, and of the service, may differ by this much.
_CLOCK_SKEW = 60.0

# Who has waited for this much of its pause goes along when another's turn has come.
_RIPE = 0.75


@dataclass(slots=True, eq=False)
class PollTimer:
    """When it is a job's turn to be asked about.

    Times called ``now`` are those of a steady clock; those of jobs are wall-clock. All in seconds.

    :param poll_interval: longest time between two questions.
    :param created: when the job was created, since the epoch; as good as it is known.
    """

    poll_interval: float
    created: float
    due: float = field(default=math.inf, init=False)
    ripe: float = field(default=math.inf, init=False)
    notify_by: float = field(default=0.0, init=False)
    """When its waiter wants an answer even though nothing has changed, since the epoch."""
    _seen: tuple[Any, Any] | None = field(default=None, init=False)

    def begin(self, now: float) -> None:
        """Set the first turn."""
        self.due = now + min(self.poll_interval, FIRST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
        self.ripe = now

    def pause(self, now: float, seconds: float) -> None:
        """Set the next turn."""
        self.due = now + seconds
        self.ripe = now + seconds * _RIPE

    def suspend(self) -> None:
        """Set no turn, until its waiter has decided what follows."""
        self.due = self.ripe = math.inf

    def forget(self) -> None:
        """Have the next answer count as news, whatever it is."""
        self._seen = None

    def changed(self, resource: Mapping[str, Any], wall: float) -> bool:
        """Whether the waiter has to hear of this answer, which then counts as heard.

        The state and the start decide everything; other fields of an unfinished job may change unheard.
        """
        seen = (resource.get("state"), resource.get("startTime"))
        if seen == self._seen and wall < self.notify_by:
            return False
        self._seen = seen
        return True

    def reschedule(self, now: float, wall: float, factor: float) -> None:
        """Set the next turn after an answer that was no news.

        :param factor: varies the pause; the same for a whole list, so that its jobs stay together.
        """
        seconds = pause_for(wall - self.created, self.poll_interval) * factor
        self.pause(now, min(seconds, self.notify_by - wall))


T = TypeVar("T", bound=PollTimer)


def ripe(timers: Iterable[T], now: float) -> set[T]:
    """Return whose turn it is, and who is near enough to it to go along."""
    return {timer for timer in timers if timer.ripe <= now}


def pages_worth(jobs: int) -> int:
    """Return how many pages to read at the most to hear of so many jobs; beyond that, asking by name is cheaper."""
    return jobs // QUESTIONS_PER_PAGE


def unfinished_filter() -> str:
    """Return the list filter for the jobs that are worth waiting for.

    It says which states to leave out, so a state that is new to us stays in; and it needs no OR, which binds
    tighter than AND in Google's filters. It is safe because a job that is not in the list is never taken for
    gone, only asked about in another way.
    """
    over = sorted(state for state in JobState if not state.stage.waits)
    return " AND ".join(f'state!="{state}"' for state in over)


def created_filter(timers: Collection[PollTimer]) -> str:
    """Return the list filter for all jobs, ended ones too, that were created when those of ``timers`` were."""
    oldest = min(timer.created for timer in timers) - _CLOCK_SKEW
    newest = max(timer.created for timer in timers) + _CLOCK_SKEW
    return f'create_time>="{_time(oldest)}" AND create_time<="{_time(newest)}"'


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
