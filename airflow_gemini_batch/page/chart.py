"""Cost and rows by day, as bars. Pure: numbers in, places in a drawing out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, timedelta

from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.costs.prices import dollars
from airflow_gemini_batch.page.task_jobs import TaskJob

HEIGHT = 100.0
_STEP = 10.0
_WIDTH = 7.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in the units of its chart.

    :param kind: ``cost``, ``answered`` or ``unanswered``.
    :param title: what it stands for.
    """

    kind: str
    title: str
    x: float
    y: float
    height: float
    width: float = _WIDTH


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of some days.

    :param most: the value of the highest bar, as text; empty without any bar.
    """

    caption: str
    most: str
    width: float
    bars: Sequence[Bar]


@dataclass(slots=True)
class Day:
    """The tasks that ended on one day, in UTC; costs that are not known are left out."""

    date: date
    cost: float = 0.0
    answered: int = 0
    unanswered: int = 0


@dataclass(frozen=True, slots=True)
class Days:
    """The days that a page shows, oldest first.

    :param without_cost: tasks that have ended and whose cost is not known.
    """

    days: Sequence[Day]
    without_cost: int = field(default=0)


def by_day(tasks: Iterable[TaskJob], today: date, days: int) -> Days:
    """Add up what the tasks of some days have taken, today among them."""
    found = {day: Day(day) for day in (today - timedelta(days=back) for back in range(days - 1, -1, -1))}
    without_cost = 0
    for task in tasks:
        day = found.get(task.changed.astimezone(UTC).date())
        if task.is_under_way or day is None:
            continue
        cost = task.facts.cost if task.facts else None
        if cost is None or cost.amount is None:
            without_cost += 1
        else:
            day.cost += cost.amount
        if task.facts:
            day.answered += task.facts.answered
            day.unanswered += task.facts.unanswered
    return Days(list(found.values()), without_cost)


def charts(days: Sequence[Day]) -> list[Chart]:
    """Draw the cost of each day, and its rows with an answer and without."""
    most_cost = max((day.cost for day in days), default=0.0)
    most_rows = max((day.answered + day.unanswered for day in days), default=0)
    width = len(days) * _STEP
    cost_bars, row_bars = [], []
    for number, day in enumerate(days):
        x = number * _STEP + (_STEP - _WIDTH) / 2
        if day.cost:
            height = HEIGHT * day.cost / most_cost
            cost_bars.append(Bar("cost", f"{day.date}: {dollars(day.cost)}", x, HEIGHT - height, height))
        top = HEIGHT
        for kind, rows in (("answered", day.answered), ("unanswered", day.unanswered)):
            if rows:
                height = HEIGHT * rows / most_rows
                top -= height
                row_bars.append(Bar(kind, f"{day.date}: {number_of(rows, 'row')} {kind}", x, top, height))
    return [
        Chart("Cost by day", dollars(most_cost) if cost_bars else "", width, cost_bars),
        Chart("Rows by day", f"{most_rows:,}" if row_bars else "", width, row_bars),
    ]
