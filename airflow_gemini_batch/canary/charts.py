"""The charts of a canary's page, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_gemini_batch.canary.report import CanaryReport, FieldReport
from airflow_gemini_batch.charts import BLUE, GOOD, IDLE, SIZE, drawn, legend
from airflow_gemini_batch.core.shown import shown

MOST_FIELDS = 30
"""Fields whose agreement is drawn."""

MOST_CHARTS = 8
"""Fields whose categories are drawn, those with the largest shift first."""

_LONGEST_NAME = 28


def charts(report: CanaryReport) -> Iterator[tuple[str, str]]:
    """Yield title and SVG of each chart; none where nothing could be compared."""
    if not report.agreement.of:
        return
    yield "Agreement, with its interval", _agreement(report)
    shifted = sorted((one for one in report.fields if one.categories), key=lambda one: -(one.shift or 0))
    for field in shifted[:MOST_CHARTS]:
        yield f"{field.name}: old and new", _categories(field)


def _agreement(report: CanaryReport) -> str:
    shares = [("all fields", report.agreement)]
    shares += [(field.name, field.agreement) for field in report.fields[:MOST_FIELDS]]
    golden = [("golden rows", report.golden)] if report.golden.of else []

    def draw(axes: Any) -> None:
        from matplotlib.ticker import PercentFormatter

        for place, (_, share) in enumerate([*shares, *golden]):
            low, high = share.interval
            colour = GOOD if place >= len(shares) else BLUE
            axes.plot([low, high], [place, place], color=colour, lw=2, alpha=0.6)
            axes.plot([share.value], [place], "o", ms=5, color=colour)
        axes.set_yticks(range(len(shares) + len(golden)), [_name(name) for name, _ in [*shares, *golden]])
        axes.invert_yaxis()
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))

    return drawn(draw, (SIZE[0], max(1.4, 0.6 + 0.28 * (len(shares) + len(golden)))))


def _categories(field: FieldReport) -> str:
    def draw(axes: Any) -> None:
        places = range(len(field.categories))
        axes.barh(
            [n - 0.2 for n in places], [one.old for one in field.categories], 0.4, color=IDLE, label="old"
        )
        axes.barh(
            [n + 0.2 for n in places], [one.new for one in field.categories], 0.4, color=BLUE, label="new"
        )
        axes.set_yticks(places, [_name(one.value) for one in field.categories])
        axes.invert_yaxis()
        legend(axes)

    return drawn(draw, (SIZE[0], max(1.4, 0.8 + 0.32 * len(field.categories))))


def _name(text: str) -> str:
    text = shown(text)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
