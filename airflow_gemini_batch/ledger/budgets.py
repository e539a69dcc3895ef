"""Budgets for a day or a month, and the check against what the ledger says. Decisions only.

What a run has spent counts from the day on which its jobs were created, and what it reserves from the day on which its
requests were built, both in UTC.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import fsum, isfinite
from typing import Literal, Self, get_args

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.costs.estimate import NOT_CHECKED, PRICE_HINT, Unpriced
from airflow_gemini_batch.costs.prices import dollars
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.ledger.record import RunRecord

Period = Literal["day", "month"]

_BUDGET = re.compile(r"\$?(\d+(?:\.\d+)?)/(\w+)(?::(.+))?")
_SHOWN_RUNS = 3
# Below this the noise of floats would refuse a run that costs what is left.
_NOISE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that the runs of one ledger may spend in a day or in a month, in UTC.

    Runs that are under way count with the upper end of their estimates. So does a run that has ended without telling
    what its jobs cost, until it is cleared and its answers land.

    :param usd: US dollars.
    :param per: ``day`` or ``month``.
    :param labels: counts only the runs with these labels, such as ``{"team": "search"}``; by default all.
    """

    usd: float
    per: Period = "month"
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise :class:`.InvalidRequestError` for values that make no budget."""
        if isinstance(self.usd, bool) or not isinstance(self.usd, (int, float)) or not self.usd >= 0:
            raise InvalidRequestError(f"budget: expected US dollars, 0 or more, got {self.usd!r:.100}")
        if not isfinite(self.usd):
            raise InvalidRequestError("budget: expected US dollars, got infinity. Leave the budget out")
        if self.per not in get_args(Period):
            raise InvalidRequestError(f"budget: expected per='day' or per='month', got {self.per!r:.100}")
        given = self.labels.items() if isinstance(self.labels, Mapping) else [(None, None)]
        if not all(isinstance(name, str) and isinstance(value, str) for name, value in given):
            raise InvalidRequestError(
                f"budget: expected labels such as {{'team': 'search'}}, got {self.labels!r:.100}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``100/month`` or ``5/day:team=search``; raises :class:`ValueError` for another text."""
        found = _BUDGET.fullmatch(text.strip())
        labels = dict(one.partition("=")[::2] for one in found[3].split(",")) if found and found[3] else {}
        if not found or found[2] not in get_args(Period) or not all(labels) or not all(labels.values()):
            raise ValueError(f"{text!r} is not a budget such as 100/month or 5/day:team=search")
        return cls(usd=float(found[1]), per=found[2], labels=labels)  # type: ignore[arg-type]

    def __str__(self) -> str:
        labels = ", ".join(f"{name}={value}" for name, value in self.labels.items())
        return f"{dollars(self.usd)} a {self.per}" + (f" for {shown(labels)}" if labels else "")

    def period(self, now: datetime) -> tuple[datetime, datetime]:
        """Return when the day or the month of a time begins and when it ends."""
        begin = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.per == "day":
            return begin, begin + timedelta(days=1)
        begin = begin.replace(day=1)
        return begin, (begin + timedelta(days=31)).replace(day=1)

    def used(self, records: Iterable[RunRecord], now: datetime) -> Used:
        """Return what runs use of the budget in the day or the month of a time."""
        begin, end = self.period(now)
        spent: dict[str, float] = {}
        reserved: defaultdict[str, float] = defaultdict(float)
        unknown: set[str] = set()
        for record in records:
            if not record.has_labels(self.labels):
                continue
            for job, part in record.parts:
                if not begin <= part.time < end:
                    continue
                if part.usd is not None:
                    # Two runs that ask the same share a job, which is paid once.
                    spent[job] = part.usd
                elif part.expected_usd is not None:
                    reserved[record.run] += part.expected_usd
                else:
                    unknown.add(record.run)
        return Used(self, begin, fsum(spent.values()), dict(reserved), unknown)


@dataclass(frozen=True, slots=True)
class Used:
    """What is used of a budget.

    :param begin: of the day or the month.
    :param spent: US dollars that jobs have cost.
    :param reserved: US dollars that runs may still cost, by run.
    :param unknown: runs that may cost what nobody knows.
    """

    budget: Budget
    begin: datetime
    spent: float
    reserved: Mapping[str, float]
    unknown: Collection[str] = ()

    @property
    def usd(self) -> float:
        """All that is used, as far as it is known."""
        return fsum((self.spent, *self.reserved.values()))

    @property
    def is_over(self) -> bool:
        """Whether it is more than the budget."""
        return self.usd > self.budget.usd + _NOISE


def checked_budgets(budgets: object) -> tuple[Budget, ...]:
    """Return budgets as they are given to a task; raises :class:`.InvalidRequestError` for anything else."""
    given = (budgets,) if isinstance(budgets, Budget) else budgets
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, Budget) for one in given):
        raise InvalidRequestError(
            f"budgets: expected a list such as [Budget(usd=100, per='month')], got {budgets!r:.100}"
        )
    return tuple(given)


def ledger_since(budgets: Iterable[Budget], now: datetime) -> datetime:
    """Return from when on records are needed to check budgets."""
    return min((budget.period(now)[0] for budget in budgets), default=now)


def check_budgets(
    records: Sequence[RunRecord],
    budgets: Sequence[Budget],
    mine: RunRecord,
    now: datetime,
    unpriced: Unpriced = "refuse",
) -> list[str]:
    """Compare what runs have spent and reserved with budgets, and return warnings.

    :param records: of the ledger, since :func:`ledger_since`. That of the run itself is among them or not.
    :param mine: the record of the run that is about to ask.
    :param unpriced: what to do with a run whose cost can't be estimated.

    Raises :class:`.InvalidRequestError` when a budget is too small for the run.
    """
    others = [record for record in records if record.run != mine.run]
    return [
        warning
        for budget in budgets
        if mine.has_labels(budget.labels)
        for warning in _check(budget, others, mine, now, unpriced)
    ]


def _check(
    budget: Budget, others: Sequence[RunRecord], mine: RunRecord, now: datetime, unpriced: Unpriced
) -> Iterator[str]:
    needed = mine.outstanding_usd
    if needed is None:
        problem = f"the budget of {budget} {NOT_CHECKED.format(model=mine.model)}"
        if unpriced != "allow":
            raise InvalidRequestError(f"{problem}; nothing was submitted. {PRICE_HINT}")
        yield problem
        return
    before, used = budget.used(others, now), budget.used([*others, mine], now)
    if used.unknown:
        yield (
            f"what is left of the budget of {budget} may be less: the cost of "
            f"{number_of(len(used.unknown), 'run')} can't be estimated, since there is no rate"
        )
    if not used.is_over or not needed:
        return
    begin, end = budget.period(now)
    raise InvalidRequestError(
        f"the budget of {budget} is too small for this run, which may cost {dollars(needed)}: since "
        f"{begin:%Y-%m-%d} (UTC) {dollars(used.spent)} is spent{_reserved(before, others)}. Nothing was submitted. "
        f"Ask fewer rows, wait until {end:%Y-%m-%d}, or raise the budget."
    )


def _reserved(used: Used, others: Sequence[RunRecord]) -> str:
    """Return the text about what other runs have reserved, those with the most by name."""
    if not used.reserved:
        return ""
    names = {record.run: f"{record.dag_id} {record.run_id}" for record in others}
    most = sorted(used.reserved.items(), key=lambda one: -one[1])[:_SHOWN_RUNS]
    listed = ", ".join(f"{shown(names[run])}: {dollars(amount)}" for run, amount in most)
    more = "" if len(used.reserved) <= _SHOWN_RUNS else ", …"
    return (
        f", and {dollars(sum(used.reserved.values()))} reserved by {number_of(len(used.reserved), 'other run')} that "
        f"did not tell their cost yet ({listed}{more})"
    )
