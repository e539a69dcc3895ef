from __future__ import annotations

import pytest

from airflow_gemini_batch.core.outcomes import Outcome, failed_for_good, failed_for_good_sql

CASES = [
    (Outcome.OK, None, False),
    (Outcome.RETRYABLE, 503, False),
    (Outcome.MISSING, None, False),
    (Outcome.REJECTED, 400, True),
    (Outcome.REJECTED, 404, True),
    # Who asked was refused, not what was asked.
    (Outcome.REJECTED, 401, False),
    (Outcome.REJECTED, 403, False),
    (Outcome.REJECTED, 7, False),
    (Outcome.REJECTED, 16, False),
    (Outcome.BLOCKED, None, True),
    (Outcome.TRUNCATED, None, True),
    (Outcome.INVALID, None, True),
    (None, None, False),
    ("", 400, False),
    ("an outcome of a later release", 400, False),
]


@pytest.mark.parametrize(("outcome", "code", "for_good"), CASES)
def test_what_asking_again_does_not_mend(outcome, code, for_good):
    assert failed_for_good(outcome, code) is for_good


def test_sql_says_the_same():
    import duckdb

    rows = ", ".join(
        f"({number}, {'NULL' if outcome is None else repr(str(outcome))}, {'NULL' if code is None else code})"
        for number, (outcome, code, _) in enumerate(CASES)
    )
    found = duckdb.execute(
        f"SELECT {failed_for_good_sql('o', 'c')} FROM (VALUES {rows}) AS t(n, o, c) ORDER BY n"
    )
    assert [row[0] for row in found.fetchall()] == [for_good for *_, for_good in CASES]
