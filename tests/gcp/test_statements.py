"""Statements that are sent together."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.gcp.statements import Statement, script


def test_script_has_the_statements_and_the_values_of_all():
    first = Statement("BEGIN TRANSACTION;\nCOMMIT TRANSACTION;", {"p0": "a"})
    found = script(first, Statement("SELECT @p0, @p1, @n", {"p0": "a", "p1": "b"}, {"n": 1}))
    assert found == Statement(
        "BEGIN TRANSACTION;\nCOMMIT TRANSACTION;\nSELECT @p0, @p1, @n", {"p0": "a", "p1": "b"}, {"n": 1}
    )


@pytest.mark.parametrize(
    ("first", "second"), [({"p0": "a"}, {"p0": "b"}), ({"p0": ""}, {"p1": "x", "p0": "b"})]
)
def test_parameter_has_one_value_in_a_script(first, second):
    with pytest.raises(ValueError, match="parameters of the name p0"):
        script(Statement("SELECT @p0", first), Statement("SELECT @p0", second))
