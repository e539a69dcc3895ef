from __future__ import annotations

import pytest

from airflow_gemini_batch.gcp.portions import StatementLimits, portions
from airflow_gemini_batch.gcp.statements import Statement


def statement(tables: list[int]) -> Statement:
    """Return a statement of ten bytes and one parameter a table."""
    return Statement("é" * 5 * len(tables), {f"p{table}": "" for table in tables})


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        pytest.param(StatementLimits(), [7], id="all-in-one"),
        pytest.param(StatementLimits(tables=3), [3, 3, 1], id="tables"),
        pytest.param(StatementLimits(text=20), [2, 2, 2, 1], id="bytes"),
        pytest.param(StatementLimits(text=29), [2, 2, 2, 1], id="bytes-not-characters"),
        pytest.param(StatementLimits(parameters=4), [4, 3], id="parameters"),
        pytest.param(StatementLimits(tables=1), [1] * 7, id="one-each"),
        pytest.param(StatementLimits(text=5), [1] * 7, id="none-fits"),
    ],
)
def test_tables_are_divided_in_their_order(limits, sizes):
    tables = list(range(7))
    found = list(portions(tables, statement, limits))
    assert [len(portion) for portion in found] == sizes
    assert [table for portion in found for table in portion] == tables


def test_no_tables_are_no_portion():
    assert list(portions([], statement, StatementLimits())) == []


@pytest.mark.parametrize(
    ("tables", "limits", "allowed"),
    [
        (2, StatementLimits(2, 20, 2), True),
        (3, StatementLimits(2, 20, 2), False),
        (2, StatementLimits(2, 19, 2), False),
        (2, StatementLimits(2, 20, 1), False),
    ],
)
def test_statement_is_allowed_within_all_limits(tables, limits, allowed):
    assert limits.allow(statement([1, 2]), tables) is allowed


def test_limits_are_below_those_of_bigquery():
    assert StatementLimits().tables < 1_000
    assert StatementLimits().text < 1_000_000
    assert StatementLimits().parameters < 10_000
