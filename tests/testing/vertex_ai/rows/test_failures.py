from __future__ import annotations

from collections import Counter

import pytest

from airflow_gemini_batch.testing.vertex_ai.rows.failures import BLOCKED, RowFailures

ROWS = [f"row {number}".encode() for number in range(4000)]
RETRYABLE = {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"}


def _statuses(failures: RowFailures, rows: list[bytes]) -> dict[bytes, str]:
    found = {row: failures.decide(row) for row in rows}
    return {row: error.status for row, error in found.items() if error}


def test_fails_the_given_share_in_the_given_proportions() -> None:
    statuses = Counter(_statuses(RowFailures(rate=0.25, seed=0), ROWS).values())
    total = sum(statuses.values())
    assert total == pytest.approx(1000, rel=0.1)
    shares = {status: count / total for status, count in statuses.items()}
    expected = {
        "RESOURCE_EXHAUSTED": 0.4,
        "UNAVAILABLE": 0.2,
        "INTERNAL": 0.1,
        "INVALID_ARGUMENT": 0.2,
        BLOCKED: 0.1,
    }
    assert shares == pytest.approx(expected, abs=0.04)


def test_fails_the_same_rows_for_the_same_seed() -> None:
    first = _statuses(RowFailures(rate=0.1, seed=1), ROWS[:400])
    assert first == _statuses(RowFailures(rate=0.1, seed=1), ROWS[:400])
    assert first != _statuses(RowFailures(rate=0.1, seed=2), ROWS[:400])


def test_judges_retryable_rows_anew_and_the_others_not() -> None:
    failures = RowFailures(rate=0.2, seed=0)
    first = _statuses(failures, ROWS)
    second = _statuses(failures, list(first))
    permanent = {row: status for row, status in first.items() if status not in RETRYABLE}
    assert {row: status for row, status in second.items() if row in permanent} == permanent
    retried = [row for row in first if row not in permanent]
    assert 0 < sum(row in second for row in retried) < len(retried) * 0.35


def test_blocks_nothing_where_models_do_not_block() -> None:
    failures = RowFailures(rate=1, seed=0)
    statuses = {error.status for row in ROWS[:200] if (error := failures.decide(row, can_block=False))}
    assert statuses == RETRYABLE | {"INVALID_ARGUMENT"}


@pytest.mark.parametrize(("rate", "failed"), [(0, 0), (1, 400)])
def test_fails_none_or_all(rate: float, failed: int) -> None:
    assert len(_statuses(RowFailures(rate=rate, seed=0), ROWS[:400])) == failed


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_refuses_what_is_no_share(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        RowFailures(rate=rate, seed=0)
