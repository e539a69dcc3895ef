"""The bars of a chart over time: one for each day, or for each week of a long time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_MOST_DAYS = 45
"""From then on a bar is a week."""

_WEEK = 7


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars from one time to another one."""

    since: datetime
    now: datetime

    @property
    def step(self) -> int:
        """Days of one bar."""
        return _WEEK if (self.now - self.since).days > _MOST_DAYS else 1

    @property
    def period(self) -> str:
        """The name of what a bar stands for."""
        return "week" if self.step > 1 else "day"

    @property
    def days(self) -> list[date]:
        """The first days of all bars."""
        first, last = self._of(self.since), self._of(self.now)
        return [first + timedelta(days=days) for days in range(0, (last - first).days + 1, self.step)]

    def sums(self, values: Iterable[tuple[datetime, float]]) -> list[float]:
        """Return the sum of the values of each bar."""
        sums: defaultdict[date, float] = defaultdict(float)
        for time, value in values:
            sums[self._of(time)] += value
        return [sums[day] for day in self.days]

    def _of(self, time: datetime) -> date:
        day = time.astimezone(UTC).date()
        return day - timedelta(days=day.weekday()) if self.step == _WEEK else day
