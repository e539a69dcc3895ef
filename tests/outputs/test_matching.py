from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import TEXT_EMBEDDING
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.matching import content_id, line_id, line_identity, request_digest
from airflow_gemini_batch.requests.embeddings import text_embedding_request
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.requests.prompts import PromptTemplate
from tests.outputs.lines import match_rows
from tests.outputs.row_shapes import candidate

Row = dict[str, Any]

OK: Row = {"status": "", "response": candidate()}
FAILED: Row = {"status": '{"code": 503}'}
REFUSED: Row = {"status": '{"code": 400}'}
EMPTY: Row = {"status": "", "response": {}}


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
        pytest.param({"contents": [], "labels": {"a": "b"}}, {"contents": []}, id="labels-left-out"),
        pytest.param({"max_output_tokens": 9}, {"maxOutputTokens": "9"}, id="whole-number-as-text"),
        pytest.param({"items": {"type": "object"}}, {"items": {"type": "OBJECT"}}, id="case-of-a-type"),
        pytest.param(
            {"contents": [{"parts": [{"text": "a"}]}]},
            {
                "contents": [{"parts": [{"text": "a", "fileData": {"fileUri": None}}], "role": None}],
                "tools": [],
            },
            id="columns-of-other-rows",
        ),
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
        pytest.param("a", [("a", FAILED), ("a", REFUSED)], {"rejected": 1}, (1, 0), id="a-final-one-counts"),
        pytest.param(
            "aaa",
            [("a", FAILED), ("a", OK), ("a", REFUSED), ("a", FAILED)],
            {"ok": 1, "rejected": 1, "retryable": 1},
            (1, 0),
            id="equal-requests-with-several-ends",
        ),
        pytest.param("a", [("a", FAILED), ("a", EMPTY)], {"retryable": 1}, (1, 0), id="failed-twice"),
    ],
)
def test_outcomes_add_up_to_the_requests(
    tmp_path: Path,
    asked: str,
    came: list[tuple[str, Row]],
    expected: dict[str, int],
    surplus: tuple[int, int],
) -> None:
    tally, _ = match_rows(tmp_path, asked, came)
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
    tmp_path: Path, came: list[tuple[str, Row]], expected: dict[str, int], unknown: int
) -> None:
    tally, _ = match_rows(tmp_path, "ab", came)
    assert counts(tally) == expected
    assert tally.unknown == unknown
    assert tally.rows == 2


@pytest.mark.parametrize(
    ("asked", "came", "follow_ups"),
    [
        pytest.param("ab", [("a", OK), ("b", OK)], {}, id="none"),
        pytest.param("abc", [("a", OK), ("b", FAILED)], {"b": 1, "c": 1}, id="failed-and-missing"),
        pytest.param("ab", [("a", REFUSED), ("b", EMPTY)], {"b": 1}, id="refused-for-good"),
        pytest.param("aaab", [("a", OK), ("a", REFUSED), ("b", OK)], {"a": 1}, id="as-many-as-are-open"),
        pytest.param("a", [("a", FAILED), ("a", OK)], {}, id="good-in-the-end"),
        pytest.param("ab", [("a", FAILED), ("a", FAILED), ("b", FAILED)], {"a": 1, "b": 1}, id="repeated"),
        pytest.param("ab", [("a", FAILED), ("x", OK)], {"a": 1, "b": 1}, id="unknown-besides"),
        pytest.param("ab", [("x", OK), ("y", FAILED)], None, id="echo-not-understood"),
        pytest.param("ab", [], None, id="no-rows"),
    ],
)
def test_requests_worth_another_job(
    tmp_path: Path, asked: str, came: list[tuple[str, Row]], follow_ups: dict[str, int] | None
) -> None:
    tally, found = match_rows(tmp_path, asked, came)
    assert found == follow_ups
    assert found is None or sum(found.values()) == tally.to_retry


def test_samples_are_those_of_outcomes_that_count(tmp_path: Path) -> None:
    tally, _ = match_rows(tmp_path, "ab", [("a", FAILED), ("a", OK), ("b", REFUSED)])
    assert tally.samples == ['rejected: {"code": 400}']


LABELLED = {"request": {"labels": {"gemini_batch_key": "ol1w"}}}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (LABELLED, "ol1w"),
        ({"key": "ol1w"}, "ol1w"),
        ({**LABELLED, "key": "ol2w"}, "ol2w"),
        ({"key": 7}, "7.0"),
        ({"key": "key=7;"}, "key=7;"),
        ({"key": None, **LABELLED}, "ol1w"),
        ({"key": True}, None),
        ({"request": {"labels": None}}, None),
        ({"request": {"labels": {"team": "books"}}}, None),
        ({"request": "text"}, None),
        ({}, None),
    ],
)
def test_key_of_a_line(row: dict[str, Any], key: str | None) -> None:
    assert line_identity(row) == key


def test_line_without_a_key_is_told_by_its_content() -> None:
    row = {"request": {"contents": []}}
    assert line_id(row, by_key=True) == line_id(row, by_key=False) == request_digest(row["request"])


def test_text_is_told_by_what_was_asked_since_its_key_does_not_come_back() -> None:
    asked = {"key": "1", "content": "x", "task_type": "RETRIEVAL_DOCUMENT", "title": ""}
    instance = {"content": "x", "task_type": "RETRIEVAL_DOCUMENT"}
    answer = {"instance": instance, "predictions": [], "status": ""}
    id_ = line_id(answer, by_key=False)
    assert line_id(asked, by_key=False) == id_
    assert line_id({**asked, "key": "2"}, by_key=False) == id_
    for other in ({"content": "y"}, {"title": "t"}, {"task_type": None}):
        assert line_id({**asked, **other}, by_key=False) != id_


def test_rows_that_ask_the_same_share_their_id() -> None:
    template = text_embedding_request(
        PromptTemplate.parse("[[ text ]]"),
        task_type="RETRIEVAL_DOCUMENT",
        title=PromptTemplate.parse("[[ title ]]"),
    )
    row = {"text": 'A "book" 本\n', "title": None}
    asked = json.loads(FORMS[TEXT_EMBEDDING].line("key", template.fill(row)))

    # As the service gives it back: in another order, with what is empty left out or null.
    assert content_id(asked, TEXT_EMBEDDING) == content_id(
        {"task_type": "RETRIEVAL_DOCUMENT", "content": row["text"]}, TEXT_EMBEDDING
    )
    assert content_id(asked, TEXT_EMBEDDING) == content_id(
        {"title": None, "task_type": "RETRIEVAL_DOCUMENT", "content": row["text"], "predictions": []},
        TEXT_EMBEDDING,
    )


def test_rows_that_ask_something_else_have_other_ids() -> None:
    rows = [
        {"content": "a"},
        {"content": "a "},
        {"content": "A"},
        {"content": "a", "task_type": "CLUSTERING"},
        {"content": "a", "title": "CLUSTERING"},
        {"content": "", "title": "a"},
        {"content": None},
    ]
    assert len({content_id(row, TEXT_EMBEDDING) for row in rows}) == len(rows)
