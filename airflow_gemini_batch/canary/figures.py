"""Figures of a sample and how far they can be trusted: shares, means, percentiles. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

_Z = 1.959964
"""Standard deviations to both sides of a mean that hold 95 % of a normal distribution."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some rows are of a kind.

    As JSON: ``count``, ``of``, ``share``, ``low`` and ``high``; the last three are null for no rows.

    :param of: all of them; of none, no share is known.
    """

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, 0 to 1."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share of all rows is, in 95 of 100 samples: Wilson's interval.

        https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
        """
        if not self.of:
            return 0.0, 1.0
        share, square = self.count / self.of, _Z * _Z
        middle = (self.count + square / 2) / (self.of + square)
        spread = _Z * math.sqrt(self.of * share * (1 - share) + square / 4) / (self.of + square)
        low = 0.0 if self.count == 0 else middle - spread
        return low, 1.0 if self.count == self.of else middle + spread

    def __str__(self) -> str:
        if self.value is None:
            return "unknown"
        low, high = self.interval
        return f"{percent(self.value)} ({percent(low)} to {percent(high)})"

    def to_json(self) -> dict[str, Any]:
        """Return the share as JSON types."""
        low, high = self.interval if self.of else (None, None)
        return {
            "count": self.count,
            "of": self.of,
            "share": rounded(self.value),
            "low": rounded(low),
            "high": rounded(high),
        }


NOTHING = Share(0, 0)
"""The share of no rows, which is not known."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of some rows, and where the mean of all rows is in 95 of 100 samples.

    :param low: of the interval; ``None``, as ``high``, where two values at least are needed.
    """

    value: float
    low: float | None
    high: float | None
    rows: int


def mean(values: Sequence[float]) -> Mean | None:
    """Return the mean of values; ``None`` where there are no values. The interval is that of a normal distribution."""
    if not values:
        return None
    middle = fmean(values)
    if len(values) < 2:
        return Mean(middle, None, None, len(values))
    spread = _Z * stdev(values) / math.sqrt(len(values))
    return Mean(middle, middle - spread, middle + spread, len(values))


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which a part of the values is, between two of them in proportion."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def percent(share: float) -> str:
    """Return a share as text, which is neither 0 % nor 100 % unless the share is."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def rounded(value: float | None) -> float | None:
    """Return a number with as many digits as a report needs."""
    return None if value is None else round(value, _DIGITS)
