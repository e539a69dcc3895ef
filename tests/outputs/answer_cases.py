"""Several answers to one request, and which of them counts: SQL, DuckDB and Python have to say the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_gemini_batch.outputs.classify import Outcome


@dataclass(frozen=True)
class Answer:
    """One answer.

    :param round: number of its job.
    :param day: when it came.
    """

    outcome: Outcome
    round: int = 0
    day: int = 0

    @property
    def time(self) -> datetime:
        return datetime(2026, 11, 22, 8, tzinfo=UTC) + timedelta(days=self.day)


@dataclass(frozen=True)
class Case:
    """Answers to one request in the order of the files, and the index of the one that counts.

    :param tie: whether any of the equal ones may count.
    """

    name: str
    answers: tuple[Answer, ...]
    counts: int
    tie: bool = False

    @property
    def best(self) -> Answer:
        return self.answers[self.counts]

    @property
    def rounds(self) -> int:
        return 1 + max(answer.round for answer in self.answers)

    @property
    def needs_time(self) -> bool:
        """Whether nothing but the time says which answer counts."""
        return len({(answer.outcome, answer.round) for answer in self.answers}) == 1 and not self.tie


def _case(name: str, *answers: Answer, counts: int, tie: bool = False) -> Case:
    return Case(name, answers, counts, tie)


_OK, _BUSY, _REFUSED = Outcome.OK, Outcome.RETRYABLE, Outcome.REJECTED

CASES = [
    _case("alone", Answer(_OK), counts=0),
    _case("failed-alone", Answer(_BUSY), counts=0),
    _case("good-before-failed", Answer(_OK), Answer(_REFUSED), counts=0),
    _case("good-after-failed", Answer(_BUSY), Answer(_OK), counts=1),
    _case("good-is-older", Answer(_REFUSED, day=2), Answer(_OK, day=1), counts=1),
    _case("good-in-an-earlier-round", Answer(_OK, 0), Answer(_BUSY, 1, day=1), counts=0),
    _case("final-failure-in-a-later-round", Answer(_OK, 0), Answer(_REFUSED, 1, day=1), counts=0),
    _case("later-round-of-two-good", Answer(_OK, 0, day=2), Answer(_OK, 1, day=1), counts=1),
    _case("later-round-of-two-failed", Answer(_BUSY, 0), Answer(_BUSY, 1), counts=1),
    _case("later-round-before-final-failure", Answer(_REFUSED, 0), Answer(_BUSY, 1), counts=1),
    _case("third-round", Answer(_BUSY, 0), Answer(_BUSY, 2), Answer(_REFUSED, 1), counts=1),
    _case("final-before-retryable", Answer(_BUSY, day=1), Answer(_REFUSED), counts=1),
    _case("final-first-in-the-file", Answer(_REFUSED), Answer(_BUSY, day=1), counts=0),
    _case("newest-of-two-failed", Answer(_BUSY, day=2), Answer(_BUSY, day=1), counts=0),
    _case("newest-of-two-good", Answer(_OK, day=1), Answer(_OK, day=2), counts=1),
    _case("tie", Answer(_BUSY), Answer(_BUSY), counts=0, tie=True),
    _case("tie-of-good", Answer(_OK), Answer(_OK), counts=0, tie=True),
]
