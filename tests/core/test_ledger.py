from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.ledger import Ledger, request_digest
from airflow_gemini_batch.core.responses import Outcome, RowResult, Tally

OK = RowResult(Outcome.OK)
FAILED = RowResult(Outcome.RETRYABLE, "503")


def digest(text: str) -> bytes:
    return request_digest({"contents": [{"role": "user", "parts": [{"text": text}]}]})


def tally_of(asked: str, came: list[tuple[str, RowResult]]) -> Tally:
    ledger = Ledger(digest(text) for text in asked)
    for text, result in came:
        ledger.add(digest(text), result)
    return ledger.tally()


def counts(tally: Tally) -> dict[str, int]:
    return {outcome.value: count for outcome, count in tally.counts.items() if count}


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="order"),
        pytest.param({"file_data": {"mime_type": "x"}}, {"fileData": {"mimeType": "x"}}, id="spelling"),
        pytest.param({"parts": {"text": "a"}}, {"parts": [{"text": "a", "fileData": None}]}, id="one-part"),
        pytest.param({"contents": {"parts": []}}, {"contents": [{"parts": []}]}, id="one-content"),
        pytest.param({"temperature": 1}, {"temperature": 1.0}, id="whole-number"),
    ],
)
def test_digest_survives_the_service_s_own_spelling(sent: Any, echoed: Any) -> None:
    assert request_digest(sent) == request_digest(echoed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"text": "a"}, {"text": "A"}, id="text"),
        pytest.param({"text": "a_b"}, {"text": "aB"}, id="text-like-a-name"),
        pytest.param(
            {"parts": [{"text": "a"}, {"text": "b"}]}, {"parts": [{"text": "b"}, {"text": "a"}]}, id="order"
        ),
        pytest.param({"temperature": 1}, {"temperature": 1.5}, id="number"),
        pytest.param({"a": 1}, {"a": "1"}, id="type"),
        pytest.param({"a": 1}, {"a": True}, id="truth"),
        pytest.param(None, {}, id="none"),
    ],
)
def test_digest_tells_requests_apart(one: Any, other: Any) -> None:
    assert request_digest(one) != request_digest(other)


@pytest.mark.parametrize(
    ("asked", "came", "expected", "surplus"),
    [
        pytest.param("ab", [("b", OK), ("a", OK)], {"ok": 2}, (0, 0), id="another-order"),
        pytest.param("abc", [("a", OK)], {"ok": 1, "missing": 2}, (0, 0), id="missing"),
        pytest.param(
            "ab", [("a", OK), ("a", OK)], {"ok": 1, "missing": 1}, (1, 0), id="repeated-for-missing"
        ),
        pytest.param("aa", [("a", OK), ("a", OK)], {"ok": 2}, (0, 0), id="equal-requests"),
        pytest.param("a", [("a", FAILED), ("a", OK)], {"ok": 1}, (1, 0), id="a-good-one-counts"),
        pytest.param("ab", [("a", OK), ("x", OK)], {"ok": 1, "missing": 1}, (0, 1), id="unknown"),
        pytest.param("ab", [], {"missing": 2}, (0, 0), id="nothing"),
        pytest.param("", [], {}, (0, 0), id="nothing-asked"),
    ],
)
def test_outcomes_add_up_to_the_requests(
    asked: str, came: list[tuple[str, RowResult]], expected: dict[str, int], surplus: tuple[int, int]
) -> None:
    tally = tally_of(asked, came)
    assert counts(tally) == expected
    assert (tally.duplicates, tally.unknown) == surplus
    assert tally.rows == len(asked)


@pytest.mark.parametrize(
    ("came", "expected", "unknown"),
    [
        pytest.param([("x", OK), ("y", FAILED)], {"ok": 1, "retryable": 1}, 0, id="as-many"),
        pytest.param([("x", OK)], {"ok": 1, "missing": 1}, 0, id="fewer"),
        pytest.param([("x", OK), ("y", OK), ("z", FAILED)], {"ok": 1, "retryable": 1}, 1, id="more"),
    ],
)
def test_rows_with_an_echo_that_is_not_understood_are_counted_all_the_same(
    came: list[tuple[str, RowResult]], expected: dict[str, int], unknown: int
) -> None:
    tally = tally_of("ab", came)
    assert counts(tally) == expected
    assert tally.unknown == unknown
    assert tally.rows == 2
