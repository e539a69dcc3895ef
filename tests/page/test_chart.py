"""Cost and rows by day, as bars."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from airflow_gemini_batch.page.chart import HEIGHT, Day, by_day, charts
from airflow_gemini_batch.page.facts import facts_of
from airflow_gemini_batch.page.task_jobs import TaskJob
from tests.page.stored import manifest

TODAY = date(2026, 3, 1)


def ended(day: datetime, **changes: object) -> TaskJob:
    facts = facts_of(manifest(counts={"ok": 10, "missing": 2}))
    known = TaskJob("d", "r", "t", -1, "success", False, day, "", facts=facts)
    return replace(known, **changes)


def at(day: int, month: int = 3, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tasks", "days", "without_cost"),
    [
        ([], [Day(date(2026, 2, 28)), Day(TODAY)], 0),
        (
            [ended(at(1)), ended(at(1, hour=23)), ended(at(28, 2))],
            [Day(date(2026, 2, 28), 0.1234, 10, 2), Day(TODAY, 0.2468, 20, 4)],
            0,
        ),
        # In UTC, whatever the database gives.
        (
            [ended(datetime.fromisoformat("2026-03-01T23:30:00-05:00"))],
            [Day(date(2026, 2, 28)), Day(TODAY)],
            0,
        ),
        ([ended(at(1), is_under_way=True), ended(at(27, 2))], [Day(date(2026, 2, 28)), Day(TODAY)], 0),
        ([ended(at(1), facts=None)], [Day(date(2026, 2, 28)), Day(TODAY)], 1),
        (
            [ended(at(1), facts=facts_of(manifest(counts={"ok": 1}, cost={"amount": None})))],
            [Day(date(2026, 2, 28)), Day(TODAY, 0.0, 1, 0)],
            1,
        ),
    ],
    ids=["nothing", "sums", "utc", "other-days", "no-result", "no-cost"],
)
def test_days_add_up_what_their_tasks_have_taken(tasks, days, without_cost):
    found = by_day(tasks, TODAY, 2)
    assert [replace(day, cost=round(day.cost, 9)) for day in found.days] == days
    assert found.without_cost == without_cost


def test_bars_are_as_high_as_their_values():
    cost, rows = charts([Day(TODAY, 1.0, 30, 10), Day(TODAY, 4.0, 10, 0), Day(TODAY)])
    assert (cost.most, rows.most) == ("$4.00", "40")
    assert [(bar.height, bar.y) for bar in cost.bars] == [(25.0, 75.0), (100.0, 0.0)]
    assert [(bar.kind, bar.height, bar.y) for bar in rows.bars] == [
        ("answered", 75.0, 25.0),
        ("unanswered", 25.0, 0.0),
        ("answered", 25.0, 75.0),
    ]
    assert cost.bars[0].x == rows.bars[0].x == rows.bars[1].x < cost.bars[1].x < cost.width
    assert rows.bars[1].title == "2026-03-01: 10 rows unanswered"
    assert all(bar.y >= 0 and bar.y + bar.height <= HEIGHT for bar in (*cost.bars, *rows.bars))


@pytest.mark.parametrize("days", [[], [Day(TODAY)]])
def test_days_without_any_job_have_no_bars(days):
    assert [(chart.most, chart.bars) for chart in charts(days)] == [("", []), ("", [])]
