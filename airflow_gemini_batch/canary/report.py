"""What the comparison of a canary says, as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_gemini_batch.canary.figures import NOTHING, Share, rounded


@dataclass(frozen=True, slots=True)
class Category:
    """A value that few rows have to themselves, and how many old and new answers have it."""

    value: str
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far old and new numbers are from each other: absolute differences, where both are there."""

    mean: float
    median: float
    p95: float
    largest: float


@dataclass(frozen=True, slots=True)
class Vectors:
    """How alike old and new vectors are: cosines.

    :param p5: of 95 in 100 rows the cosine is higher.
    :param other_lengths: rows whose vectors have different lengths, or one none, so that there is no cosine.
    """

    mean: float | None
    p5: float | None
    other_lengths: int


@dataclass(frozen=True, slots=True)
class FieldReport:
    """One column of the answers, old and new.

    :param type: BigQuery's, ``ARRAY<…>`` for a list.
    :param agreement: rows whose new value is the old one; for vectors, whose cosine is 0.99 or more.
    :param null_old: rows without a value, or with an empty list, among the old answers; ``null_new`` among the new.
    :param categories: of texts with few different values, the most frequent first.
    :param shift: share of the rows that would have to change their category for old and new counts to be the same.
    :param lengths: mean number of characters of old and new texts that are not categories.
    :param golden: golden rows with the right value; ``None`` where they have no such column.
    """

    name: str
    type: str
    agreement: Share
    null_old: Share
    null_new: Share
    categories: Sequence[Category] = ()
    shift: float | None = None
    numbers: Numbers | None = None
    lengths: tuple[float, float] | None = None
    vectors: Vectors | None = None
    golden: Share | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the column as JSON types, without what it does not have."""
        content: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "agreement": self.agreement.to_json(),
            "null_old": rounded(self.null_old.value),
            "null_new": rounded(self.null_new.value),
        }
        if self.categories:
            content["categories"] = [asdict(one) for one in self.categories]
            content["shift"] = rounded(self.shift)
        for name, part in (("numbers", self.numbers), ("vectors", self.vectors)):
            if part:
                content[name] = {
                    key: rounded(value) if isinstance(value, float) else value
                    for key, value in asdict(part).items()
                }
        if self.lengths:
            content["lengths"] = {"old": rounded(self.lengths[0]), "new": rounded(self.lengths[1])}
        if self.golden:
            content["golden"] = self.golden.to_json()
        return content


@dataclass(frozen=True, slots=True)
class Difference:
    """A row whose old and new values differ, as shortened texts."""

    key: str
    field: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RollOutCost:
    """What the canary has taken, and what the other rows are expected to take, in US dollars.

    :param rest_rows: how many rows are still to be asked; ``None`` where it is not known.
    :param canary: of the rows with an answer.
    :param low: of the other rows, lower end; ``high`` is the upper one.
    :param unknown: why the amounts are not known; empty where they are.
    """

    rest_rows: int | None
    canary: float | None = None
    low: float | None = None
    expected: float | None = None
    high: float | None = None
    rates_as_of: str = ""
    unknown: str = ""

    @property
    def whole(self) -> float | None:
        """The canary and the upper end of the rest together."""
        return None if self.canary is None or self.high is None else self.canary + self.high


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """How the answers to a new question compare with those that are there, and with the right ones.

    As JSON: ``question``, ``answered``, ``failed`` (rows by outcome), ``invalid``, ``compared``, ``agreement``,
    ``golden`` (``rows``, ``accuracy``, ``accuracy_before``), ``tokens`` (of a row, by kind), ``cost``, ``fields`` and
    ``differences``; see :class:`.Share` and :class:`.FieldReport`.

    :param question: id of the new question.
    :param answered: rows with an answer to it.
    :param failed: rows without a usable answer, by outcome.
    :param agreement: rows whose new answer is the old one in all fields.
    :param compared_golden: whether these are golden rows, because there are no other ones.
    :param golden_rows: how many golden rows there are; ``None`` where none are given.
    :param golden: those of them that were asked, and were answered right in all fields.
    :param golden_before: the same of the answers to the questions before, where there are any.
    :param tokens: mean number of each kind that a row has taken.
    :param fields: the answer's columns.
    :param differences: some rows.
    """

    question: str
    answered: int
    failed: Mapping[str, int]
    agreement: Share
    fields: Sequence[FieldReport]
    cost: RollOutCost
    compared_golden: bool = False
    golden_rows: int | None = None
    golden: Share = NOTHING
    golden_before: Share = NOTHING
    tokens: Mapping[str, float] = field(default_factory=dict)
    differences: Sequence[Difference] = ()

    @property
    def invalid(self) -> Share:
        """Rows without a usable answer."""
        failed = sum(self.failed.values())
        return Share(failed, self.answered + failed)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        golden = None
        if self.golden_rows is not None:
            golden = {
                "rows": self.golden_rows,
                "accuracy": self.golden.to_json(),
                "accuracy_before": self.golden_before.to_json(),
            }
        return {
            "question": self.question,
            "answered": self.answered,
            "failed": dict(self.failed),
            "invalid": self.invalid.to_json(),
            "compared": self.agreement.of,
            "agreement": self.agreement.to_json(),
            "golden": golden,
            "tokens": {kind: rounded(count) for kind, count in self.tokens.items()},
            "cost": {
                name: rounded(value) if isinstance(value, float) else value
                for name, value in asdict(self.cost).items()
            },
            "fields": [one.to_json() for one in self.fields],
            "differences": [asdict(one) for one in self.differences],
        }
