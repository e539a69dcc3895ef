"""The plan of a build: why rows are asked, with their tokens and their cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.costs.estimate import Estimate, between
from airflow_gemini_batch.requests.row_kinds import RowCount, RowKind
from airflow_gemini_batch.requests.spec import BuildReport, names_of_changes


@dataclass(frozen=True, slots=True)
class PlanLine:
    """The rows of one kind.

    :param rows: all rows of the kind.
    :param asked: those of them that the run asks.
    :param expected: what those that are asked take; ``None`` if there are none.
    :param changes: of a changed question what has changed in it.
    """

    kind: RowKind
    rows: int
    asked: int
    expected: Estimate | None
    changes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON types."""
        expected = self.expected
        return {
            "kind": self.kind.name.lower(),
            "rows": self.rows,
            "asked": self.asked,
            "changes": list(self.changes),
            "prompt_tokens": expected.prompt_tokens if expected else 0,
            "output_tokens_low": expected.output_tokens_low if expected else 0,
            "output_tokens": expected.output_tokens if expected else 0,
            "cost_usd_low": expected.cost_low.amount if expected else 0.0,
            "cost_usd": expected.cost.amount if expected else 0.0,
        }

    @property
    def name(self) -> str:
        """The kind, with what has changed."""
        return f"{self.kind} ({', '.join(self.changes)})" if self.changes else str(self.kind)

    @property
    def tokens(self) -> str:
        """The tokens as text."""
        if self.expected is None:
            return ""
        output = between(f"{self.expected.output_tokens_low:,}", f"{self.expected.output_tokens:,}")
        return f"{self.expected.prompt_tokens:,} prompt, {output} output"

    @property
    def price(self) -> str:
        """The cost as text."""
        return self.expected.price if self.expected else ""

    def __str__(self) -> str:
        kept = self.rows - self.asked
        text = f"{self.name}: {number_of(self.asked, 'row')}"
        if kept:
            text += f" of {self.rows:,}; the others keep their answer in this run"
        return f"{text}, {self.tokens} tokens, {self.price}" if self.expected else text


def plan_lines(report: BuildReport, expected: Callable[[RowCount], Estimate]) -> Iterator[PlanLine]:
    """Yield a line for each kind of rows.

    :param expected: estimates some rows.
    """
    changes = tuple(names_of_changes(report.changes))
    for kind, count in report.every.items():
        asked = report.kinds.get(kind, RowCount())
        yield PlanLine(
            kind,
            count.rows,
            asked.rows,
            expected(asked) if asked.rows else None,
            changes if kind is RowKind.CHANGED_QUESTION else (),
        )
