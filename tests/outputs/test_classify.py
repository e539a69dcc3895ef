from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from tests.outputs.lines import Sorted, sort_rows
from tests.support.cases import at_once, parameters_of

GOOD: dict[str, Any] = {
    "candidates": [
        {
            "avgLogprobs": -0.204,
            "content": {"parts": [{"text": "A novel."}], "role": "model"},
            "finishReason": "STOP",
        }
    ],
    "modelVersion": "gemini-2.5-flash",
    "usageMetadata": {"promptTokenCount": 1090, "totalTokenCount": 1197},
}


# With no response, a null response, and with a response all the same.
RESPONSES: list[dict[str, Any] | None] = [{}, None, GOOD]


def stopped(reason: Any, content: Any = None) -> dict[str, Any]:
    """Return a response whose candidate ended for a reason."""
    return {"candidates": [{"finishReason": reason, "content": content or {"parts": [{"text": "A no"}]}}]}


SortRow = Callable[[Any, Any], Sorted]


@pytest.fixture(scope="module")
def sort_row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SortRow:
    """Return what becomes of a row by its status and its response."""
    result = at_once(
        lambda rows: sort_rows(tmp_path_factory.mktemp("lines"), rows),
        (
            {"status": one.get("status", ""), "response": response}
            for one in parameters_of(request)
            for response in ([one["response"]] if "response" in one else RESPONSES)
        ),
    )
    return lambda status, response: result({"status": status, "response": response})


@pytest.mark.parametrize("outcome", Outcome)
def test_only_ok_counts_as_answered(outcome: Outcome) -> None:
    assert outcome.answered is (outcome == "ok")


@pytest.mark.parametrize(
    "status", [pytest.param("", id="empty"), pytest.param(None, id="null"), pytest.param(" \n", id="blank")]
)
@pytest.mark.parametrize(
    "response",
    [
        pytest.param(GOOD, id="object"),
        pytest.param(json.dumps(GOOD), id="text"),
        pytest.param({**GOOD, "promptFeedback": None}, id="explicit-null"),
        pytest.param(stopped("STOP", {"parts": {"text": "A novel."}}), id="parts-as-an-object"),
        pytest.param(stopped("STOP", {"parts": [{"text": "本 😀 \u2028"}]}), id="unicode"),
    ],
)
def test_row_with_an_answer_is_ok(sort_row: SortRow, status: str | None, response: Any) -> None:
    found = sort_row(status, response)
    assert (found.outcome, found.message) == (Outcome.OK, None)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param({}, id="empty-object"),
        pytest.param("{}", id="empty-object-as-text"),
        # In a google.rpc.Status, 0 stands for OK.
        pytest.param({"code": 0}, id="code-ok"),
        pytest.param('{"code": 0, "message": ""}', id="code-ok-as-text"),
    ],
)
def test_status_that_reports_no_error_is_none(sort_row: SortRow, status: Any) -> None:
    assert sort_row(status, GOOD).outcome == Outcome.OK


def envelope(code: int, reason: str = "") -> str:
    return json.dumps({"error": {"code": code, "message": "m", "status": reason}})


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        pytest.param(f"Bad Request: {envelope(400)}", Outcome.REJECTED, id="reason-and-json"),
        *(
            pytest.param(f"Error: {envelope(code)}", Outcome.REJECTED, id=f"http-{code}")
            for code in (401, 403, 404, 413)
        ),
        *(
            pytest.param(json.dumps({"code": code}), Outcome.REJECTED, id=f"grpc-{code}")
            for code in (3, 5, 6, 7, 9, 11, 12, 16)
        ),
        pytest.param(f"RESOURCE_EXHAUSTED error occurred: {envelope(429)}", Outcome.RETRYABLE, id="quota"),
        *(
            pytest.param(f"Error: {envelope(code)}", Outcome.RETRYABLE, id=f"http-{code}")
            for code in (408, 409, 499, 500, 502, 503, 504)
        ),
        pytest.param(envelope(400), Outcome.REJECTED, id="bare-envelope"),
        pytest.param('{"code": 3, "message": "bad role"}', Outcome.REJECTED, id="bare-status"),
        pytest.param('{"code":7}', Outcome.REJECTED, id="bare-status-without-spaces"),
        pytest.param('{\n  "code" :\t16\n}', Outcome.REJECTED, id="bare-status-with-spaces"),
        *(
            pytest.param(json.dumps({"code": code}), Outcome.RETRYABLE, id=f"grpc-{code}")
            for code in (1, 2, 4, 8, 10, 13, 14)
        ),
        pytest.param({"code": 3, "message": "bad role"}, Outcome.REJECTED, id="object"),
        pytest.param({"error": {"code": 400}}, Outcome.REJECTED, id="envelope-as-object"),
        pytest.param({"code": 8}, Outcome.RETRYABLE, id="object-that-may-be-retried"),
        pytest.param(
            {"message": '{"code": 400}', "code": 14}, Outcome.RETRYABLE, id="code-quoted-in-the-message"
        ),
        pytest.param("INTERNAL", Outcome.RETRYABLE, id="free-text"),
        pytest.param("error code 400", Outcome.RETRYABLE, id="number-in-free-text"),
        pytest.param('{"code": 4000}', Outcome.RETRYABLE, id="code-that-only-begins-alike"),
        pytest.param('{"code": 99999999999999999999}', Outcome.RETRYABLE, id="absurd-code"),
        pytest.param('Bad Request: {"error": {"code": ', Outcome.RETRYABLE, id="cut-off"),
        pytest.param("Ошибка 本", Outcome.RETRYABLE, id="unicode"),
    ],
)
def test_status_decides_whether_a_failure_may_be_tried_again(
    sort_row: SortRow, status: Any, outcome: Outcome
) -> None:
    assert {sort_row(status, response).outcome for response in RESPONSES} == {outcome}


def test_status_is_the_message_of_a_failure(sort_row: SortRow) -> None:
    status = f"INTERNAL {'é' * 1000}"
    assert sort_row(status, {}).message == status


@pytest.mark.parametrize(
    ("response", "outcome", "message"),
    [
        pytest.param(None, Outcome.MISSING, "no response", id="null"),
        pytest.param({}, Outcome.MISSING, "no response", id="empty-object"),
        pytest.param("", Outcome.MISSING, "no response", id="empty-text"),
        pytest.param("{}", Outcome.MISSING, "no response", id="empty-object-as-text"),
        pytest.param("null", Outcome.MISSING, "no response", id="null-as-text"),
        pytest.param('{"candidates": [', Outcome.MISSING, "no response", id="cut-off"),
        pytest.param([], Outcome.MISSING, "no candidates", id="list"),
        pytest.param({"usageMetadata": {}}, Outcome.MISSING, "no candidates", id="no-candidates"),
        pytest.param({"candidates": None}, Outcome.MISSING, "no candidates", id="null-candidates"),
        pytest.param({"candidates": []}, Outcome.MISSING, "no candidates", id="empty-candidates"),
        pytest.param({"promptFeedback": {}, "a": 1}, Outcome.MISSING, "no candidates", id="empty-feedback"),
        pytest.param(
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
            Outcome.BLOCKED,
            "the prompt was blocked: PROHIBITED_CONTENT",
            id="blocked-prompt",
        ),
        pytest.param(
            '{"promptFeedback": {"blockReason": "SAFETY"}, "candidates": []}',
            Outcome.BLOCKED,
            "the prompt was blocked: SAFETY",
            id="blocked-prompt-as-text",
        ),
        pytest.param(stopped("MAX_TOKENS"), Outcome.TRUNCATED, "maxOutputTokens", id="cut"),
        pytest.param(
            stopped("MAX_TOKENS", {"role": "model"}), Outcome.TRUNCATED, "maxOutputTokens", id="only-thoughts"
        ),
        *(
            pytest.param(stopped(reason), Outcome.BLOCKED, f"the answer was blocked: {reason}", id=reason)
            for reason in (
                "SAFETY",
                "RECITATION",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "LANGUAGE",
                "MODEL_ARMOR",
                "IMAGE_SAFETY",
                "IMAGE_PROHIBITED_CONTENT",
                "IMAGE_RECITATION",
            )
        ),
        *(
            pytest.param(stopped(reason), Outcome.RETRYABLE, f"finishReason is {reason}", id=reason)
            for reason in (
                "OTHER",
                "MALFORMED_FUNCTION_CALL",
                "FINISH_REASON_UNSPECIFIED",
                "ADDED_LATER",
                "stop",
            )
        ),
        pytest.param(stopped(None), Outcome.RETRYABLE, "finishReason is absent", id="null-reason"),
        pytest.param({"candidates": [{}]}, Outcome.RETRYABLE, "finishReason is absent", id="empty-candidate"),
        pytest.param(
            stopped("STOP", {"role": "model"}), Outcome.RETRYABLE, "stopped without an answer", id="no-parts"
        ),
        pytest.param(
            stopped("STOP", {"parts": []}), Outcome.RETRYABLE, "stopped without an answer", id="empty-parts"
        ),
        pytest.param(
            {"candidates": [{"finishReason": "STOP", "content": None}]},
            Outcome.RETRYABLE,
            "stopped without an answer",
            id="null-content",
        ),
    ],
)
def test_row_without_a_usable_answer_says_why(
    sort_row: SortRow, response: Any, outcome: Outcome, message: str
) -> None:
    found = sort_row("", response)
    assert found.outcome == outcome
    assert message in str(found.message)


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(7, id="number"),
        pytest.param([GOOD], id="wrapped-in-a-list"),
        pytest.param({"candidates": "STOP"}, id="text-for-candidates"),
        pytest.param({"candidates": {"finishReason": "STOP"}}, id="object-for-candidates"),
        pytest.param({"candidates": [None]}, id="null-candidate"),
        pytest.param({"candidates": ["STOP"]}, id="text-for-a-candidate"),
        pytest.param({"promptFeedback": "SAFETY"}, id="text-for-the-feedback"),
        pytest.param(stopped("STOP", "A novel."), id="text-for-the-content"),
        pytest.param(stopped(["STOP"]), id="list-for-the-reason"),
        pytest.param(stopped({"name": "STOP"}), id="object-for-the-reason"),
    ],
)
def test_row_of_an_unknown_shape_is_not_answered_and_ends_nothing(sort_row: SortRow, response: Any) -> None:
    assert sort_row("", response).outcome != Outcome.OK


def test_new_tally_is_empty() -> None:
    tally = Tally()
    assert (tally.rows, tally.answered, tally.failed, tally.failed_fraction) == (0, 0, 0, 0.0)
    assert set(tally.counts) == set(Outcome)
    assert str(tally) == "0 rows: none"


def test_tally_counts_rows() -> None:
    tally = Tally()
    tally.add(RowResult(Outcome.OK), 6)
    tally.add(RowResult(Outcome.RETRYABLE, "429"))
    tally.add(RowResult(Outcome.BLOCKED, "SAFETY"))
    assert (tally.rows, tally.answered, tally.failed, tally.failed_fraction) == (8, 6, 2, 0.25)
    assert str(tally) == "8 rows: 6 ok, 1 retryable, 1 blocked"
    assert tally.samples == ["retryable: 429", "blocked: SAFETY"]


def test_tally_shows_a_few_different_messages() -> None:
    tally = Tally()
    for number in range(100):
        tally.add(RowResult(Outcome.RETRYABLE, f"message {number // 2}"))
    assert tally.samples == [f"retryable: message {number}" for number in range(Tally.MAX_SAMPLES)]


def test_tallies_merge_and_the_merged_one_is_left_alone() -> None:
    one, other = Tally(), Tally()
    one.add(RowResult(Outcome.OK), 2)
    one.add(RowResult(Outcome.RETRYABLE, "429"))
    other.add(RowResult(Outcome.RETRYABLE, "429"), 3)
    other.add(RowResult(Outcome.REJECTED, "400"))
    one.merge(other)
    one.add(RowResult(Outcome.OK))
    assert str(one) == "8 rows: 3 ok, 4 retryable, 1 rejected"
    assert one.samples == ["retryable: 429", "rejected: 400"]
    assert str(other) == "4 rows: 3 retryable, 1 rejected"


def test_merged_tally_shows_no_more_messages_than_any() -> None:
    one, other = Tally(), Tally()
    for number in range(Tally.MAX_SAMPLES):
        one.add(RowResult(Outcome.RETRYABLE, f"a{number}"))
        other.add(RowResult(Outcome.RETRYABLE, f"b{number}"))
    one.merge(other)
    assert one.samples == [f"retryable: a{number}" for number in range(Tally.MAX_SAMPLES)]


@pytest.mark.parametrize(
    ("requests", "missing"),
    [
        pytest.param(10, 7, id="rows-never-ran"),
        pytest.param(3, 0, id="all-came-back"),
        pytest.param(2, 0, id="more-rows-than-requests"),
        pytest.param(0, 0, id="no-requests"),
    ],
)
def test_requests_without_a_row_are_missing(requests: int, missing: int) -> None:
    tally = Tally()
    tally.add(RowResult(Outcome.OK), 3)
    tally.complete(requests)
    assert tally.counts[Outcome.MISSING] == missing
    assert bool(tally.samples) is bool(missing)


def test_completing_twice_counts_once() -> None:
    tally = Tally()
    tally.complete(5)
    tally.complete(5)
    assert tally.rows == 5
