"""The figures of a run of the harness, by crash point and in all."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.crash.evidence import Outcome


@dataclass(slots=True)
class Figures:
    """Outcomes of many rounds, added up."""

    runs: int = 0
    duplicate_jobs: int = 0
    lost_rows: int = 0
    stuck_runs: int = 0
    missed_crashes: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Add one round."""
        self.runs += 1
        self.duplicate_jobs += outcome.duplicate_jobs
        self.lost_rows += outcome.lost_rows
        self.stuck_runs += outcome.stuck
        self.missed_crashes += outcome.missed
        self.seconds.append(seconds)

    @property
    def clean(self) -> bool:
        """Whether every crash happened, and cost nothing."""
        return not (self.duplicate_jobs or self.lost_rows or self.stuck_runs or self.missed_crashes)

    def to_json(self) -> dict[str, Any]:
        """Return the sums, and the median and longest duration of a round."""
        return {
            "runs": self.runs,
            "duplicate_jobs": self.duplicate_jobs,
            "lost_rows": self.lost_rows,
            "stuck_runs": self.stuck_runs,
            "missed_crashes": self.missed_crashes,
            "median_s": round(statistics.median(self.seconds), 2) if self.seconds else None,
            "longest_s": round(max(self.seconds), 2) if self.seconds else None,
        }


def total(parts: Iterable[Figures]) -> Figures:
    """Return the sum of several figures."""
    whole = Figures()
    for part in parts:
        whole.runs += part.runs
        whole.duplicate_jobs += part.duplicate_jobs
        whole.lost_rows += part.lost_rows
        whole.stuck_runs += part.stuck_runs
        whole.missed_crashes += part.missed_crashes
        whole.seconds += part.seconds
    return whole
