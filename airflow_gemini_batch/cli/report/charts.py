"""The charts of the report, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from airflow_gemini_batch.charts import BAD, BLUE, GOOD, IDLE, WARN, drawn, legend
from airflow_gemini_batch.cli.job_facts import has_counts, queued_seconds, run_seconds
from airflow_gemini_batch.cli.report.bars import Bars
from airflow_gemini_batch.cli.report.history import End, History, PastJob
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.summary import duration

_PALETTE = (GOOD, BLUE, WARN, "#8e6bbf", "#4fb3bf", BAD, IDLE)
_LONGEST_LABEL = 40
_COLOURS = {
    End.SUCCEEDED: GOOD,
    End.FAILED: BAD,
    End.CANCELLED: IDLE,
    End.EXPIRED: WARN,
    End.UNFINISHED: BLUE,
}
_TICKS = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600, 72 * 3600)
"""Seconds that the axis of times names."""


def jobs_chart(history: History) -> str:
    """Draw the jobs of each day, by their end."""

    def count(end: End) -> list[float]:
        return history.by_day(lambda one: float(one.end is end))

    parts = {str(end): (count(end), _COLOURS[end]) for end in history.ends}
    return drawn(lambda axes: _bars(axes, history.bars, parts))


def rows_chart(history: History) -> str:
    """Draw the rows of each day, as the service counts them."""

    def count(field: str) -> Callable[[PastJob], float | None]:
        return lambda one: getattr(one.job, field) if has_counts(one.job) else None

    fields = {"answered": "successful_count", "failed": "failed_count", "not done": "incomplete_count"}
    colours = {"answered": GOOD, "failed": BAD, "not done": IDLE}
    parts = {name: (history.by_day(count(field)), colours[name]) for name, field in fields.items()}
    return drawn(
        lambda axes: _bars(axes, history.bars, {name: part for name, part in parts.items() if any(part[0])})
    )


def times_chart(history: History) -> str:
    """Draw how long each job waited and ran."""
    from matplotlib.ticker import FixedLocator, NullLocator

    def draw(axes: Any) -> None:
        for name, seconds, colour in (("queued", queued_seconds, WARN), ("ran", run_seconds, BLUE)):
            points = [
                (one.job.create_time, max(time, 1.0))
                for one in history.jobs
                if one.job.create_time and (time := seconds(one.job, history.now)) is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), "o", ms=4, alpha=0.7, color=colour, label=name)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator(_TICKS))
        axes.yaxis.set_major_formatter(lambda value, _: duration(value))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlim(history.since, history.now)
        _date_axis(axes)
        legend(axes)

    return drawn(draw)


def cost_chart(history: History) -> str:
    """Draw the known cost of each day."""
    amounts = history.by_day(lambda one: one.cost.amount if one.cost else None)
    return money_chart(history.bars, {"cost": amounts})


def money_chart(bars: Bars, amounts: Mapping[str, Sequence[float]]) -> str:
    """Draw US dollars over time, by name.

    :param amounts: of each bar.
    """
    colours = [_PALETTE[number % len(_PALETTE)] for number in range(len(amounts))]
    parts = {
        name: (heights, colour) for (name, heights), colour in zip(amounts.items(), colours, strict=True)
    }

    def draw(axes: Any) -> None:
        _bars(axes, bars, parts)
        axes.yaxis.set_major_formatter(_dollars)

    return drawn(draw)


def budgets_chart(budgets: Mapping[str, tuple[float, float, float]]) -> str:
    """Draw how much of budgets is used.

    :param budgets: what is spent, reserved and allowed, in US dollars, by name.
    """

    def draw(axes: Any) -> None:
        places = range(len(budgets))
        spent, reserved, allowed = (list(amounts) for amounts in zip(*budgets.values(), strict=True))
        axes.barh(places, allowed, 0.7, color=IDLE, alpha=0.25, label="budget")
        axes.barh(places, spent, 0.5, color=GOOD, label="spent")
        axes.barh(places, reserved, 0.5, spent, color=WARN, label="reserved")
        axes.xaxis.set_major_formatter(_dollars)
        axes.set_yticks(places, [_label(name) for name in budgets])
        axes.invert_yaxis()
        legend(axes)

    return drawn(draw)


def _dollars(value: float, _position: int) -> str:
    return f"${value:,.4g}"


def _label(name: str) -> str:
    """Return a name as matplotlib shows it: not left out for its underscore, and not too long."""
    text = shown(name)
    if len(text) > _LONGEST_LABEL:
        text = text[: _LONGEST_LABEL - 1] + "…"
    return f" {text}" if text.startswith("_") else text


def _bars(axes: Any, bars: Bars, parts: Mapping[str, tuple[Sequence[float], str]]) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    days: Sequence[date] = bars.days
    bottom = [0.0] * len(days)
    for name, (heights, colour) in parts.items():
        axes.bar(days, heights, bars.step * 0.8, bottom, color=colour, label=_label(name))
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    axes.yaxis.set_major_locator(MaxNLocator(integer=max(bottom, default=0) > 4, nbins=6))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylim(bottom=0)
    _date_axis(axes)
    legend(axes)


def _date_axis(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
