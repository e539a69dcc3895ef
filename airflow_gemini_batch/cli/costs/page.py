"""The page about what runs have spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from airflow_gemini_batch.cli.costs.sums import LABEL, Item, Sum, key_of, sums_by
from airflow_gemini_batch.cli.report.bars import Bars
from airflow_gemini_batch.core.html import Cell, cards, charts_grid, document, table, text
from airflow_gemini_batch.core.summary import counted, number_of
from airflow_gemini_batch.costs.prices import dollars
from airflow_gemini_batch.ledger.budgets import Used
from airflow_gemini_batch.ledger.record import RunRecord

MOST_RUNS = 500
"""Runs that are listed one by one, newest first."""

MOST_NAMES = 6
"""Names in a chart; the rest is one colour."""

OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Costs:
    """What the runs of some ledgers have spent.

    :param ledgers: their addresses.
    :param by: what to add up by.
    :param runs: records, the oldest first.
    """

    ledgers: Sequence[str]
    since: datetime
    now: datetime
    by: Sequence[str]
    items: Sequence[Item]
    runs: Sequence[RunRecord]
    budgets: Sequence[Used] = ()

    @property
    def total(self) -> Sum:
        """All of it."""
        return Sum.of("all", self.items)


def page(costs: Costs, charts: Mapping[str, str]) -> str:
    """Return the page.

    :param charts: SVG by title.
    """
    return document(
        "Costs of runs",
        [
            f"<h1>Costs of runs</h1><p>{text(', '.join(costs.ledgers))}</p>",
            f'<p class="soft">{costs.since:%Y-%m-%d} to {costs.now:%Y-%m-%d %H:%M} UTC, by the day on which jobs were '
            "created</p>",
            *cards(_facts(costs)),
            *charts_grid("Over time", charts),
            *table("Budgets", _BUDGET_COLUMNS, map(_budget_row, costs.budgets)),
            *(
                part
                for by in costs.by
                for part in table(f"By {title_of(by)}", _sum_columns(by), _sum_rows(costs, by))
            ),
            *table("Runs", _RUN_COLUMNS, map(_run_row, _newest(costs))),
            *_more(costs),
        ],
    )


def drawn(costs: Costs) -> dict[str, str]:
    """Return the charts as SVG by title."""
    from airflow_gemini_batch.cli.report import charts

    if not costs.items:
        return {}
    bars = Bars(costs.since, costs.now)
    found = {
        f"Cost by {bars.period} and {title_of(by)}": charts.money_chart(bars, _amounts(costs, by, bars))
        for by in costs.by
        if by != "day"
    } or {f"Cost by {bars.period}": charts.money_chart(bars, {"cost": bars.sums(map(_known, costs.items))})}
    if costs.budgets:
        used = {
            str(one.budget): (one.spent, sum(one.reserved.values()), one.budget.usd) for one in costs.budgets
        }
        found["Budgets"] = charts.budgets_chart(used)
    return found


def _amounts(costs: Costs, by: str, bars: Bars) -> dict[str, list[float]]:
    """Return the known costs of each bar, by the names with the highest cost."""
    names = [one.name for one in sums_by(costs.items, by) if one.cost_usd]
    shown = {name: name or f"no {title_of(by)}" for name in names[:MOST_NAMES]}
    groups: dict[str, list[Item]] = {name: [] for name in shown.values()}
    for item in costs.items:
        name = key_of(item, by)
        if name in names:
            groups.setdefault(shown.get(name, OTHERS), []).append(item)
    return {name: bars.sums(map(_known, items)) for name, items in groups.items()}


def _known(item: Item) -> tuple[datetime, float]:
    return item.part.time, item.part.usd or 0.0


def _facts(costs: Costs) -> Iterator[tuple[str, str]]:
    total = costs.total
    yield "Cost", total.cost
    yield "Reserved, where the cost is not known", total.reserved or "nothing"
    yield "Runs", f"{total.runs:,}"
    yield "Jobs", f"{total.jobs:,}"
    yield "Tokens", counted(total.tokens) or "unknown"


def title_of(by: str) -> str:
    """Return what a group is called."""
    return "DAG" if by == "dag" else by.removeprefix(LABEL)


def _sum_columns(by: str) -> Sequence[Cell]:
    kinds = ("runs", "jobs", "prompt tokens", "output tokens", "cost", "reserved")
    return [Cell(title_of(by), "long"), *(Cell(kind, "number") for kind in kinds)]


def _sum_rows(costs: Costs, by: str) -> Iterator[Sequence[Cell]]:
    for one in sums_by(costs.items, by):
        yield [
            Cell(one.name or f"no {title_of(by)}", "long"),
            *(Cell(value, "number") for value in values_of(one)),
        ]


def values_of(one: Sum) -> list[str]:
    """Return the cells of a sum after its name."""
    return [
        f"{one.runs:,}",
        f"{one.jobs:,}",
        f"{one.tokens.get('prompt', 0) + one.tokens.get('tool', 0):,}",
        f"{one.tokens.get('output', 0) + one.tokens.get('thoughts', 0):,}",
        one.cost,
        one.reserved,
    ]


_BUDGET_COLUMNS = (
    Cell("budget", "long"),
    Cell("since", "number"),
    Cell("spent", "number"),
    Cell("reserved", "number"),
    Cell("left", "number"),
    Cell("used", "number"),
)


def _budget_row(used: Used) -> Sequence[Cell]:
    return [Cell(str(used.budget), "long"), *(Cell(value, "number") for value in budget_values(used))]


def budget_values(used: Used) -> list[str]:
    """Return the cells of a budget after its name."""
    left = used.budget.usd - used.usd
    unknown = f", and {number_of(len(used.unknown), 'run')} without an estimate" if used.unknown else ""
    return [
        f"{used.begin:%Y-%m-%d}",
        dollars(used.spent),
        dollars(sum(used.reserved.values())) + unknown,
        dollars(left) if left >= 0 else f"{dollars(-left)} over",
        f"{used.usd / used.budget.usd:.0%}" if used.budget.usd else "-",
    ]


_RUN_COLUMNS = (
    Cell("started (UTC)", "number"),
    Cell("DAG"),
    Cell("run"),
    Cell("target", "long"),
    Cell("model"),
    Cell("question", "number"),
    Cell("state"),
    Cell("rows"),
    Cell("outcomes"),
    Cell("estimate", "number"),
    Cell("cost", "number"),
)


def _run_row(record: RunRecord) -> Sequence[Cell]:
    expected, cost = record.expected_usd, record.cost_usd
    return (
        Cell(f"{record.started:%Y-%m-%d %H:%M}", "number"),
        Cell(record.dag_id),
        Cell(record.run_id),
        Cell(record.target, "long"),
        Cell(record.model),
        Cell(record.question, "number"),
        Cell(record.state if record.kind == "run" else f"{record.kind}, {record.state}"),
        Cell(counted({name.replace("_", " "): count for name, count in record.rows.items()})),
        Cell(counted(record.outcomes)),
        Cell("unknown" if expected is None else dollars(expected), "number"),
        Cell("unknown" if cost is None else dollars(cost), "number"),
    )


def _newest(costs: Costs) -> Sequence[RunRecord]:
    return costs.runs[::-1][:MOST_RUNS]


def _more(costs: Costs) -> Iterator[str]:
    if (more := len(costs.runs) - MOST_RUNS) > 0:
        yield f'<p class="soft">and {number_of(more, "older run")}, which the numbers above include</p>'
