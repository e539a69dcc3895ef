from __future__ import annotations

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.preflight.findings import error, raise_findings, warning


def test_finding_says_where_what_and_the_way_out() -> None:
    assert str(error("no JSON", "mend it", "line 3")) == "line 3: no JSON; mend it"
    assert str(error("no JSON")) == "no JSON"


def test_all_errors_are_raised_as_one_and_warnings_are_told() -> None:
    told: list[str] = []
    findings = [error("one"), warning("two"), error("three")]
    with pytest.raises(InvalidRequestError) as raised:
        raise_findings(findings, lambda text, *values: told.append(text % values))
    assert str(raised.value) == "nothing was submitted; faults found by the preflight: 2\n- one\n- three"
    assert told == ["Preflight: two"]


def test_warnings_alone_raise_nothing() -> None:
    told: list[str] = []
    raise_findings([warning("two")], lambda text, *values: told.append(text % values))
    assert told == ["Preflight: two"]


def test_errors_that_mend_themselves_are_worth_another_try_unless_another_is_not() -> None:
    waiting = error("not there yet", retryable=True)
    with pytest.raises(SourceNotReadyError):
        raise_findings([waiting, warning("two"), waiting], lambda *_: None)
    with pytest.raises(InvalidRequestError, match="not there yet\n- for good"):
        raise_findings([waiting, error("for good")], lambda *_: None)
