"""How many rows with a changed question fit into a run."""

from __future__ import annotations

from datetime import date

import pytest

from airflow_gemini_batch.costs.estimate import OutputLimits, estimate
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.costs.run_limit import run_limit
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.row_kinds import KindCounts, RowCount, RowKind

NEW, CHANGED = RowKind.NEW, RowKind.CHANGED_QUESTION


def expected(rows: RowCount, model: str = "gemini-2.5-flash"):
    return estimate(
        model, PriceTable.load(), on=date(2026, 1, 1), rows=rows.rows, prompt_characters=rows.characters,
        limits=OutputLimits(max_output_tokens=100),
    )  # fmt: skip


def rows(**kinds: int) -> KindCounts:
    return {RowKind[name]: RowCount(count, 400 * count, 0) for name, count in kinds.items()}


ONE = expected(RowCount(100, 40_000, 0)).cost.amount / 100


@pytest.mark.parametrize(
    ("max_rows", "max_cost", "kinds", "most"),
    [
        pytest.param(10, None, rows(CHANGED_QUESTION=50), 10, id="rows"),
        pytest.param(10, None, rows(CHANGED_QUESTION=5), 5, id="fewer than allowed"),
        pytest.param(10, None, rows(NEW=4, CHANGED_DATA=3, FAILED_BEFORE=1, CHANGED_QUESTION=50), 2, id="others first"),
        pytest.param(10, None, rows(NEW=14, CHANGED_QUESTION=50), 0, id="no room"),
        pytest.param(10, None, rows(CHANGED_QUESTION=6, CHANGED=50), 10, id="not known what has changed"),
        pytest.param(10, None, rows(NEW=3), 0, id="nothing has changed"),
        pytest.param(None, 10.5 * ONE, rows(CHANGED_QUESTION=100), 10, id="money"),
        pytest.param(None, 10.5 * ONE, rows(NEW=4, CHANGED_QUESTION=100), 6, id="money for others first"),
        pytest.param(None, 1.5 * ONE, rows(NEW=4, CHANGED_QUESTION=100), 0, id="no money left"),
        pytest.param(None, 0.0, rows(CHANGED_QUESTION=100), 0, id="no money"),
        pytest.param(4, 10.5 * ONE, rows(CHANGED_QUESTION=100), 4, id="the lower one"),
    ],
)  # fmt: skip
def test_rows_that_fit(max_rows, max_cost, kinds, most) -> None:
    limit = run_limit(max_rows, max_cost, expected)
    assert limit is not None
    assert limit(kinds) == most


def test_without_a_limit_all_are_asked() -> None:
    assert run_limit(None, None, expected) is None


def test_model_without_a_price_is_refused_unless_it_is_allowed() -> None:
    kinds = rows(CHANGED_QUESTION=7)
    refusing = run_limit(None, 1.0, lambda rows: expected(rows, "gemini-0"))
    assert refusing is not None
    with pytest.raises(
        InvalidRequestError, match=r"max_cost_usd_per_run=\$1.00 can't be checked: .* for gemini-0"
    ):
        refusing(kinds)
    allowing = run_limit(None, 1.0, lambda rows: expected(rows, "gemini-0"), "allow")
    assert allowing is not None
    assert allowing(kinds) == 7
