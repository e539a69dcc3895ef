"""Lines of output files, with and without what they may hold, and what lands of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, most_tokens
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from airflow_gemini_batch.outputs.matching import request_digest
from tests.landing.files.answers import read_answers
from tests.landing.landings import DAY, GENRE, TEXT, plan_of
from tests.outputs.row_shapes import SHAPES as ROWS
from tests.support.cases import at_once, parameters_of

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
FACTS_OF_GOOD = {
    "batch_model": "gemini-2.5-flash",
    "batch_finish_reason": "STOP",
    "batch_prompt_tokens": 9,
    "batch_output_tokens": 5,
    "batch_thoughts_tokens": None,
    "batch_cached_tokens": None,
    "batch_tool_tokens": None,
    "answered": DAY,
}
ABSENT = object()
TEXT_PATH = "response.candidates.0.content.parts.0.text"


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


Row = dict[str, Any]


def lines_of(rows: Iterable[Row]) -> list[bytes]:
    return list(map(orjson.dumps, rows))


Read = Callable[..., Row | None]


@pytest.fixture(scope="module")
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Read one line; those of a plan are read together."""

    def read_lines(plan: Any, lines: Sequence[bytes]) -> list[Row | None]:
        found = read_answers(tmp_path_factory.mktemp("lines"), plan, lines)
        return [found.get(number) for number in range(len(lines))]

    lines: dict[str, list[bytes]] = {"texts": [], "genres": []}
    for one in parameters_of(request):
        match one:
            case {"line": line}:
                lines["texts"].append(line)
            case {"status": status, "code": _}:
                lines["texts"].append(orjson.dumps({**GOOD, "status": status}))
            case {"answer": answer} if "schema" not in one:
                lines["genres"].append(orjson.dumps(changed(TEXT_PATH, answer)))
    texts, genres = (
        at_once(partial(read_lines, plan), lines[name]) for name, plan in (("texts", TEXT), ("genres", GENRE))
    )

    def read(row: Row | bytes, plan: Any = TEXT) -> Row | None:
        line = row if isinstance(row, bytes) else orjson.dumps(row)
        if plan is TEXT:
            return texts(line)
        return genres(line) if plan is GENRE else read_lines(plan, [line])[0]

    return read


def test_good_line_gives_its_answer_and_facts(read: Read) -> None:
    assert read(GOOD) == {
        "label": "key=978-1;",
        "digest": None,
        "bare_key": None,
        "key_0": "978-1",
        "by_content": False,
        "outcome": "ok",
        "code": None,
        "message": None,
        "value_0": "A novel.",
        "left_text": None,
        "shortened": None,
        **FACTS_OF_GOOD,
    }


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


@pytest.mark.parametrize("schema", [None, {"genre": str}], ids=["text", "schema"])
def test_declared_types_and_general_rules_give_the_same_row(tmp_path: Path, schema: Any) -> None:
    lines, plan = lines_of(changed(path, value) for path, value in SHAPES), plan_of(schema)
    found = read_answers(tmp_path, plan, lines)
    assert found == read_answers(tmp_path, plan, lines, by_types=False)
    assert len(found) == len(SHAPES)
    assert all(row["left_text"] is None for row in found.values())


def test_row_lands_with_the_outcome_that_it_has(tmp_path: Path) -> None:
    lines = lines_of(
        {"key": "978-1", "status": shape.status, "response": shape.response, "error": shape.error}
        for shape in ROWS
    )
    found = read_answers(tmp_path, TEXT, lines)
    for number, shape in enumerate(ROWS):
        row = found[number]
        assert (row["outcome"], shape.code) == (shape.outcome, shape.code and row["code"]), shape.name
        if shape.outcome.answered:
            assert (row["value_0"], row["batch_finish_reason"]) == (shape.text, "STOP"), shape.name
        else:
            assert (row["value_0"], bool(row["message"])) == (None, True), shape.name


@pytest.mark.parametrize(
    "answer", ['{"genre": "novel"}', '```json\n{"genre": "novel"}\n```', '{"genre": "novel", "x": 1}']
)
def test_answer_that_fits_the_schema_gives_its_values(read: Read, answer: str) -> None:
    row = read(changed(TEXT_PATH, answer), GENRE)
    assert row is not None
    assert (row["outcome"], row["message"], row["value_0"]) == ("ok", None, "novel")


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
def test_answer_that_does_not_fit_is_invalid_and_says_why(read: Read, answer: str, message: str) -> None:
    row = read(changed(TEXT_PATH, answer), GENRE)
    assert row is not None
    assert (row["outcome"], row["code"], row["value_0"]) == ("invalid", None, None)
    assert row["message"].startswith(message)
    assert row.items() >= FACTS_OF_GOOD.items()


def test_values_have_the_types_of_their_columns(read: Read) -> None:
    plan = plan_of({"rating": float, "scores": list[float], "author": list[list[str]], "born": int | None})
    answer = '{"rating": 4, "scores": [1, 2.5], "author": [["a"], []], "born": null}'
    row = read(changed(TEXT_PATH, answer), plan)
    assert row is not None
    rating, scores, *others = (row[f"value_{index}"] for index in range(4))
    assert (rating, scores, others) == (4.0, [1.0, 2.5], ['[["a"],[]]', None])
    assert {type(value) for value in (rating, *scores)} == {float}


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [(list[int], "[1, 2]", [1, 2]), (int | None, "null", None), (str, '"word"', "word"), (float, "2", 2.0)],
)
def test_answer_that_is_no_object_lands_as_a_whole(read: Read, schema: Any, answer: str, value: Any) -> None:
    if schema == int | None:
        schema = {"type": "integer", "nullable": True}
    row = read(changed(TEXT_PATH, answer), plan_of(schema))
    assert row is not None
    assert (row["outcome"], row["value_0"]) == ("ok", value)


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
def test_failed_line_tells_its_code(read: Read, status: Any, code: int | None) -> None:
    row = read({**GOOD, "status": status})
    assert row is not None
    assert row["outcome"] in ("rejected", "retryable")
    assert (row["code"], row["value_0"]) == (code, None)


def test_line_without_a_key_tells_the_digest_of_its_request(read: Read) -> None:
    row = read(changed("key", ABSENT))
    assert row is not None
    assert row["label"] is None
    assert row["digest"] == request_digest(GOOD["request"]).hex()


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff", orjson.dumps(GOOD)[:-30], b'{"a":' * 5000, b"{}{}"],
)
def test_line_that_can_t_be_read_is_none(read: Read, line: bytes) -> None:
    assert read(line) is None


def test_half_a_character_and_a_number_that_is_none_lose_no_answer(read: Read) -> None:
    row = changed(TEXT_PATH, "half \ud83d")
    row["response"]["candidates"][0]["avgLogprobs"] = float("nan")
    found = read(json.dumps(row).encode())
    assert found is not None
    assert (found["label"], found["outcome"], found["value_0"]) == ("key=978-1;", "ok", "half \ufffd")


@pytest.mark.parametrize(
    ("model", "limit"),
    [("gemini-embedding-001", 2048), ("publishers/google/models/gemini-embedding-2-preview", 8192)],
)
def test_text_is_truncated_at_the_limit_of_its_model(tmp_path: Path, model: str, limit: int) -> None:
    plan = LandingPlan(("isbn",), embedding_columns("embedding"), family=GEMINI_EMBEDDING)
    lines = lines_of(
        {"key": "key=1;", "response": {"tokenCount": tokens, "embedding": {"values": [0.6, -0.8]}}}
        for tokens in (limit - 1, limit)
    )
    found = read_answers(tmp_path, plan, lines, limit=most_tokens(model))
    values = [[row[f"value_{index}"] for index in range(1, 4)] for row in found.values()]
    assert values == [[limit - 1, None, 2], [limit, True, 2]]
