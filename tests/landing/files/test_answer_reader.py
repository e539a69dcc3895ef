"""Lines of output files, with and without what they may hold."""

from __future__ import annotations

import copy
import json
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.landing.files.answer_reader import AnswerReader, Facts
from airflow_gemini_batch.outputs.classify import classify_row
from airflow_gemini_batch.outputs.matching import request_digest
from tests.landing.landings import DAY, GENRE, TEXT, plan_of
from tests.outputs.row_shapes import SHAPES as ROWS
from tests.outputs.row_shapes import Shape

GOOD: dict[str, Any] = {
    "status": "",
    "processed_time": DAY,
    "key": "key=978-1;",
    "request": {"contents": [{"parts": [{"text": "a", "fileData": None}]}]},
    "response": {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "A novel."}]}, "finishReason": "STOP"}
        ],
        "modelVersion": "gemini-2.5-flash",
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "trafficType": "ON_DEMAND"},
    },
}
FACTS_OF_GOOD = ("gemini-2.5-flash", "STOP", 9, 5, None, None, None, DAY)
ABSENT = object()


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return a good line with another value at ``a.b.0``, or without it."""
    row = copy.deepcopy(GOOD)
    *way, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    place: Any = row
    for step in way:
        place = place[step]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return row


def read(row: dict[str, Any] | bytes, plan: Any = TEXT) -> tuple[Any, ...] | None:
    found = AnswerReader(plan).read(row if isinstance(row, bytes) else orjson.dumps(row))
    return found and found.cells[:-2]


def test_good_line_gives_its_answer_and_facts() -> None:
    assert read(GOOD) == ("key=978-1;", None, "ok", None, None, "A novel.", *FACTS_OF_GOOD)
    assert len(FACTS_OF_GOOD) == len(Facts._fields)


SHAPES = [
    ("status", ABSENT),
    ("status", None),
    ("status", " "),
    ("status", {"code": 0}),
    ("status", "OK?"),
    ("status", '{"code": 8, "message": "busy"}'),
    ("status", {"code": 3, "message": "bad"}),
    ("status", 5),
    ("processed_time", ABSENT),
    ("processed_time", 5),
    ("request", ABSENT),
    ("request", "text"),
    ("request.labels", None),
    ("request.labels", {"gemini_batch_key": "978-1"}),
    ("key", ABSENT),
    ("key", "978-1"),
    ("key", 5),
    ("response", ABSENT),
    ("response", None),
    ("response", {}),
    ("response", "text"),
    ("response", orjson.dumps(GOOD["response"]).decode()),
    ("response.candidates", []),
    ("response.candidates", None),
    ("response.candidates", [None]),
    ("response.candidates", GOOD["response"]["candidates"][0]),
    ("response.candidates", GOOD["response"]["candidates"] * 2),
    ("response.candidates.0.finishReason", ABSENT),
    ("response.candidates.0.finishReason", "MAX_TOKENS"),
    ("response.candidates.0.finishReason", "SAFETY"),
    ("response.candidates.0.finishReason", 1),
    ("response.candidates.0.content", ABSENT),
    ("response.candidates.0.content", "text"),
    ("response.candidates.0.content.parts", []),
    ("response.candidates.0.content.parts", {"text": "alone"}),
    ("response.candidates.0.content.parts", [{"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}]),
    ("response.candidates.0.content.parts", [{"text": "only a thought", "thought": True}]),
    ("response.candidates.0.content.parts", [{"functionCall": {"name": "f"}}]),
    ("response.candidates.0.content.parts", [{"text": None}]),
    ("response.candidates.0.content.parts", [{"text": "a"}, 5, {"text": 7}]),
    ("response.candidates.0.content.parts", [{"text": "a"}, {"text": "b", "thought": False}]),
    ("response.promptFeedback", {"blockReason": "OTHER"}),
    ("response.modelVersion", ABSENT),
    ("response.modelVersion", None),
    ("response.modelVersion", 2),
    ("response.usageMetadata", ABSENT),
    ("response.usageMetadata", None),
    ("response.usageMetadata", []),
    ("response.usageMetadata.promptTokenCount", "1090"),
    ("response.usageMetadata.promptTokenCount", -1),
    ("response.usageMetadata.promptTokenCount", 1.5),
    ("response.usageMetadata.promptTokenCount", 2**63),
    ("response.usageMetadata.promptTokenCount", True),
    ("key", "other"),
    ("key", 978),
    ("key", "ÄÖ/\"'"),
]


@pytest.mark.parametrize("schema", [None, {"genre": str}])
@pytest.mark.parametrize(("path", "value"), SHAPES)
def test_the_short_way_and_the_long_way_give_the_same_row(path: str, value: Any, schema: Any) -> None:
    row = changed(path, value)
    line = orjson.dumps(row)
    plan = plan_of(schema)
    reader = AnswerReader(plan)
    long = reader._read_odd(line)
    assert reader.read(line) == long
    assert long is not None
    outcome = classify_row(row.get("status"), row.get("response")).outcome
    assert long.outcome == ("invalid" if schema and outcome == "ok" else outcome)
    assert len(long.values) == len(plan.columns)


@pytest.mark.parametrize("shape", ROWS, ids=lambda shape: shape.name)
def test_row_lands_with_the_outcome_that_it_has(shape: Shape) -> None:
    line = {"key": "978-1", "status": shape.status, "response": shape.response, "error": shape.error}
    found = AnswerReader(TEXT).read(orjson.dumps(line))
    assert found is not None
    assert (found.outcome, shape.code) == (shape.outcome, shape.code and found.code)
    if shape.outcome.answered:
        assert (found.values, found.facts.batch_finish_reason) == ((shape.text,), "STOP")
    else:
        assert (found.values, bool(found.message)) == ((None,), True)


@pytest.mark.parametrize(
    "answer", ['{"genre": "novel"}', '```json\n{"genre": "novel"}\n```', '{"genre": "novel", "x": 1}']
)
def test_answer_that_fits_the_schema_gives_its_values(answer: str) -> None:
    row = read(changed("response.candidates.0.content.parts.0.text", answer), GENRE)
    assert row is not None
    assert (row[2], row[4], row[5]) == ("ok", None, "novel")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"genre": NaN}', "the answer is not valid JSON: "),
        ('{"genre": "\\ud83d"}', "the answer is not valid JSON: "),
        ('{"genre": "nov', "the answer is not valid JSON: "),
        ('{"genre": 5}', "genre: expected a string, got 5"),
        ("[]", "the answer: expected an object, got []"),
        ("{}", "genre: expected a string, got nothing"),
    ],
)
def test_answer_that_does_not_fit_is_invalid_and_says_why(answer: str, message: str) -> None:
    row = read(changed("response.candidates.0.content.parts.0.text", answer), GENRE)
    assert row is not None
    assert (row[2], row[3], row[5]) == ("invalid", None, None)
    assert row[4].startswith(message)
    assert row[6:] == FACTS_OF_GOOD


def test_values_have_the_types_of_their_columns() -> None:
    plan = plan_of({"rating": float, "scores": list[float], "author": list[list[str]], "born": int | None})
    answer = '{"rating": 4, "scores": [1, 2.5], "author": [["a"], []], "born": null}'
    row = read(changed("response.candidates.0.content.parts.0.text", answer), plan)
    assert row is not None
    assert row[5:9] == (4.0, [1.0, 2.5], '[["a"],[]]', None)
    assert [type(value) for value in row[5:7]] == [float, list]
    assert all(type(score) is float for score in row[6])


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [(list[int], "[1, 2]", [1, 2]), (int | None, "null", None), (str, '"word"', "word"), (float, "2", 2.0)],
)
def test_answer_that_is_no_object_lands_as_a_whole(schema: Any, answer: str, value: Any) -> None:
    if schema == int | None:
        schema = {"type": "integer", "nullable": True}
    row = read(changed("response.candidates.0.content.parts.0.text", answer), plan_of(schema))
    assert row is not None
    assert (row[2], row[5]) == ("ok", value)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ('Bad Request: {"error": {"code": 400, "message": "no"}}', 400),
        ({"code": 8, "message": "busy"}, 8),
        ('RESOURCE_EXHAUSTED error occurred: {"error": {"code": 429}}', 429),
        ("Internal error", None),
        ('{"code": 99999999999999999999}', None),
    ],
)
def test_failed_line_tells_its_code(status: Any, code: int | None) -> None:
    row = read({**GOOD, "status": status})
    assert row is not None
    assert row[2] in ("rejected", "retryable")
    assert row[3] == code
    assert row[5] is None


def test_line_without_a_key_tells_the_digest_of_its_request() -> None:
    row = read(changed("key", ABSENT))
    assert row is not None
    assert row[0] is None
    assert row[1] == request_digest(GOOD["request"]).hex()


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff", orjson.dumps(GOOD)[:-30], b'{"a":' * 5000, b"{}{}"],
)
def test_line_that_can_t_be_read_is_none(line: bytes) -> None:
    assert read(line) is None


def test_half_a_character_and_a_number_that_is_none_lose_no_answer() -> None:
    row = changed("response.candidates.0.content.parts.0.text", "half \ud83d")
    row["response"]["candidates"][0]["avgLogprobs"] = float("nan")
    found = read(json.dumps(row).encode())
    assert found is not None
    assert (found[0], found[2], found[5]) == ("key=978-1;", "ok", "half \ufffd")
