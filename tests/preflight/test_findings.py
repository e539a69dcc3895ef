from __future__ import annotations

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.preflight.findings import error, raise_findings, warning


def test_finding_says_where_what_and_what_to_do() -> None:
    assert str(error("no JSON", "fix it", "line 3")) == "line 3: no JSON; fix it"
    assert str(error("no JSON")) == "no JSON"


def test_all_errors_are_raised_as_one_and_warnings_are_logged() -> None:
    logged: list[str] = []
    findings = [error("one"), warning("two"), error("three")]
    with pytest.raises(InvalidRequestError) as raised:
        raise_findings(findings, lambda text, *values: logged.append(text % values))
    assert str(raised.value) == "the preflight found 2 errors, nothing was submitted:\n1. one\n2. three"
    assert logged == ["Preflight: two"]


def test_warnings_alone_raise_nothing() -> None:
    logged: list[str] = []
    raise_findings([warning("two")], lambda text, *values: logged.append(text % values))
    assert logged == ["Preflight: two"]


def test_errors_that_waiting_may_fix_are_retried_unless_another_one_is_for_good() -> None:
    waiting = error("not there yet", retryable=True)
    with pytest.raises(SourceNotReadyError):
        raise_findings([waiting, warning("two"), waiting], lambda *_: None)
    with pytest.raises(InvalidRequestError, match=r"1\. not there yet\n2\. for good"):
        raise_findings([waiting, error("for good")], lambda *_: None)


def test_errors_of_several_lines_are_counted_by_what_is_listed() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        raise_findings([error("two columns are missing:\na\nb"), error("no bucket")], lambda *_: None)
    assert str(raised.value).splitlines() == [
        "the preflight found 2 errors, nothing was submitted:",
        "1. two columns are missing:",
        "   a",
        "   b",
        "2. no bucket",
    ]
