"""What runs have spent, added up by DAG, model, day, target or label. Decisions only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import fsum
from typing import Any

from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.costs.prices import dollars
from airflow_gemini_batch.ledger.record import RunRecord, Spent

LABEL = "label:"

_KEYS: dict[str, Callable[[RunRecord, Spent], str]] = {
    "dag": lambda record, _: record.dag_id,
    "model": lambda record, _: record.model,
    "day": lambda _, part: f"{part.time.astimezone(UTC):%Y-%m-%d}",
    "target": lambda record, _: record.target,
}
GROUPS = tuple(_KEYS)


@dataclass(frozen=True, slots=True)
class Item:
    """What one submission of a run has spent, or what those without a result may spend.

    :param job: the name of the first job; empty where there is no result.
    """

    run: RunRecord
    job: str
    part: Spent


@dataclass(frozen=True, slots=True)
class Sum:
    """Some items together.

    :param name: what they have in common.
    :param cost_usd: US dollars, as far as they are known; ``None`` where nothing is.
    :param reserved_usd: what counts instead where the cost is not known: the upper end of estimates.
    :param unsettled: runs with a cost that is not known.
    :param unestimated: those of them of which there is no estimate either.
    :param unpriced: models without a rate, whose tokens are in no cost.
    """

    name: str
    runs: int
    jobs: int
    tokens: dict[str, int]
    cost_usd: float | None
    reserved_usd: float
    unsettled: int
    unestimated: int
    unpriced: Sequence[str] = field(default_factory=tuple)

    @classmethod
    def of(cls, name: str, items: Sequence[Item]) -> Sum:
        """Add up items."""
        known = [one.part.usd for one in items if one.part.usd is not None]
        open_ = [one for one in items if one.part.usd is None]
        return cls(
            name,
            len({one.run.run for one in items}),
            len({job for one in items for job in one.part.jobs}),
            dict(sum((Counter(one.part.tokens) for one in items), Counter())),
            round(fsum(known), 12) if known or not open_ else None,
            round(fsum(one.part.expected_usd or 0.0 for one in open_), 12),
            len({one.run.run for one in open_}),
            len({one.run.run for one in open_ if one.part.expected_usd is None}),
            tuple(dict.fromkeys(model for one in items for model in one.part.unpriced)),
        )

    @property
    def cost(self) -> str:
        """The cost as text, with what is not in it."""
        text = "unknown" if self.cost_usd is None else dollars(self.cost_usd)
        if self.cost_usd is not None and self.unsettled:
            text += f", without {number_of(self.unsettled, 'run')}"
        return text + (f" (no rate for {', '.join(self.unpriced)})" if self.unpriced else "")

    @property
    def reserved(self) -> str:
        """What is reserved as text; empty where all is known."""
        if not self.unsettled:
            return ""
        if self.unsettled == self.unestimated:
            return "unknown"
        more = f", without {number_of(self.unestimated, 'run')}" if self.unestimated else ""
        return f"{dollars(self.reserved_usd)}{more}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "name": self.name,
            "runs": self.runs,
            "jobs": self.jobs,
            "tokens": self.tokens,
            "cost_usd": self.cost_usd,
            "reserved_usd": self.reserved_usd,
            "unsettled": self.unsettled,
            "unestimated": self.unestimated,
            "unpriced": list(self.unpriced),
        }


def items_of(records: Iterable[RunRecord], since: datetime | None) -> list[Item]:
    """Return what runs have spent since a time; a job that several of them share belongs to the first.

    :param since: ``None`` for all.
    """
    found = [
        Item(record, job, part)
        for record in records
        for job, part in record.parts
        if since is None or part.time >= since
    ]
    # One that tells its cost before one that does not.
    first: dict[str, Item] = {}
    for item in sorted(found, key=lambda one: one.part.usd is None):
        first.setdefault(item.job or f"of run {item.run.run}", item)
    return sorted(first.values(), key=lambda one: one.part.time)


def checked_group(name: str) -> str:
    """Return what to add up by; raises :class:`ValueError` for another text."""
    if name in _KEYS or (name.startswith(LABEL) and name != LABEL):
        return name
    raise ValueError(f"{name!r} is not one of {', '.join(GROUPS)} or {LABEL}NAME, such as {LABEL}team")


def key_of(item: Item, by: str) -> str:
    """Return which group an item is in.

    :param by: of :func:`checked_group`.
    """
    if by.startswith(LABEL):
        return item.run.labels.get(by.removeprefix(LABEL), "")
    return _KEYS[by](item.run, item.part)


def sums_by(items: Iterable[Item], by: str) -> list[Sum]:
    """Return the sums of the groups: days in their order, others by what they cost, the highest first."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(key_of(item, by), []).append(item)
    sums = [Sum.of(name, groups[name]) for name in sorted(groups)]
    if by == "day":
        return sums
    return sorted(sums, key=lambda one: -((one.cost_usd or 0.0) + one.reserved_usd))
