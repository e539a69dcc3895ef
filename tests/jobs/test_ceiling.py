"""What is left of a ceiling for a follow-up."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.spending import CeilingReachedError, Spending, check_follow_up
from airflow_gemini_batch.outputs.usage import Usage


def spending(amount: float | None, rows: int, *unpriced: str) -> Spending:
    usage = {"gemini-2.5-flash": Usage(rows=rows)} if rows else {}
    return Spending(usage, Cost(amount, "2026-11", unpriced))


@pytest.mark.parametrize(
    ("amount", "fits"),
    [(None, True), (1.0, True), (8.9, False)],
)
def test_what_has_no_price_may_be_allowed(amount: float | None, fits: bool) -> None:
    spent = spending(amount, 10, "gemini-0")
    if fits:
        check_follow_up(spent, 1, 9.0, allow_unpriced=True)
    else:
        with pytest.raises(CeilingReachedError):
            check_follow_up(spent, 1, 9.0, allow_unpriced=True)


@pytest.mark.parametrize(
    ("spent", "rows", "ceiling", "fits"),
    [
        pytest.param(spending(1.0, 10), 10, 2.0, True, id="as much again"),
        pytest.param(spending(1.0, 10), 11, 2.0, False, id="a row too many"),
        pytest.param(spending(1.0, 10), 1, 0.5, False, id="above already"),
        pytest.param(spending(0.0, 0), 10, 0.5, True, id="nothing spent"),
        pytest.param(Spending({}, None), 1, 9.0, False, id="not counted"),
        pytest.param(spending(None, 10, "a"), 1, 9.0, False, id="no price"),
        pytest.param(spending(1.0, 10, "a"), 1, 9.0, False, id="no price for one model"),
    ],
)
def test_what_is_left_of_a_ceiling(spent: Spending, rows: int, ceiling: float, fits: bool) -> None:
    if fits:
        check_follow_up(spent, rows, ceiling)
    else:
        with pytest.raises(CeilingReachedError, match=f"^{rows} rows have no answer and are not sent again"):
            check_follow_up(spent, rows, ceiling)
