"""Whether a canary has passed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.canary.figures import percent
from airflow_gemini_batch.canary.report import CanaryReport
from airflow_gemini_batch.canary.settings import Canary
from airflow_gemini_batch.costs.prices import dollars


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all thresholds are met.

    :param reasons: why it has not passed, one for each threshold; empty when it has.
    """

    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against asking the other rows."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON types."""
        return {"passed": self.passed, "reasons": list(self.reasons)}


def judge(report: CanaryReport, canary: Canary) -> Verdict:
    """Compare a report with the thresholds. What is not known meets none.

    The figures of the sample count, not the ends of their intervals.
    """
    return Verdict(tuple(_reasons(report, canary)))


def _reasons(report: CanaryReport, canary: Canary) -> Iterator[str]:
    agreement = report.agreement
    if agreement.value is None:
        yield "no row has an old and a new answer, so nothing could be compared"
    elif canary.min_agreement is not None and agreement.value < canary.min_agreement:
        yield (
            f"the agreement is {agreement} of {agreement.of:,} rows, less than "
            f"min_agreement={percent(canary.min_agreement)}"
        )
    if canary.golden is not None:
        accuracy = report.golden
        if accuracy.value is None:
            yield (
                f"none of the {report.golden_rows or 0:,} golden rows was asked, so their answers could not be "
                "checked: their keys have to be keys of the source"
            )
        elif canary.min_golden_accuracy is not None and accuracy.value < canary.min_golden_accuracy:
            yield (
                f"the golden accuracy is {accuracy} of {accuracy.of:,} rows, less than "
                f"min_golden_accuracy={percent(canary.min_golden_accuracy)}"
            )
    invalid = report.invalid
    if canary.max_invalid is not None and (invalid.value is None or invalid.value > canary.max_invalid):
        known = (
            f"{invalid} of {invalid.of:,} rows have" if invalid.of else "it is not known how many rows have"
        )
        yield f"{known} no usable answer, and max_invalid={percent(canary.max_invalid)} is allowed"
    if canary.max_cost_usd is not None:
        whole = report.cost.whole
        if whole is None:
            yield f"max_cost_usd={dollars(canary.max_cost_usd)} can't be checked: {report.cost.unknown}"
        elif whole > canary.max_cost_usd:
            yield (
                f"the whole may cost {dollars(whole)}, more than max_cost_usd={dollars(canary.max_cost_usd)}"
            )
