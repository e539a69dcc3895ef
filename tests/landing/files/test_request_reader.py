from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import key_identity, sent_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.files.request_reader import RequestReader
from airflow_gemini_batch.outputs.matching import request_digest
from airflow_gemini_batch.requests.lines import request_line

MODEL = "gemini-2.5-flash"
REQUEST: dict[str, Any] = {
    "contents": [{"role": "user", "parts": [{"text": 'a "b" \\ ,"labels":{"x":"y"}}}'}]}]
}
FILLED = orjson.dumps(REQUEST)
FINGERPRINT = fingerprint_of(MODEL, FILLED)
KEYS = ["978-1", "", 'a/b"c', "\\", "ÄÖ 😀", "line\nbreak", "k" * 10_000, "h-1", '","request":{', '"}}}', "["]


Row = tuple[str, ...]


def rows_of(reader: RequestReader, lines: bytes) -> tuple[list[Row], int]:
    """Return the rows of lines, and how many of these can't be read."""
    columns, unreadable = reader.read(lines)
    return list(zip(*columns, strict=True)), unreadable


@pytest.mark.parametrize("key", KEYS)
def test_line_of_ours_gives_its_key_and_fingerprint(key: str) -> None:
    reader = RequestReader(f"publishers/google/models/{MODEL}", ("isbn",))
    assert rows_of(reader, request_line(key, FILLED)) == ([(sent_key(key), FINGERPRINT, key)], 0)


@pytest.mark.parametrize("key", KEYS)
def test_the_short_way_and_the_long_way_give_the_same_row(key: str) -> None:
    reader = RequestReader(MODEL, ("isbn",))
    line = request_line(key, FILLED)
    spelled_otherwise = json.dumps(json.loads(line)).encode()
    assert rows_of(reader, line) == rows_of(reader, line.strip()) == rows_of(reader, spelled_otherwise)


@pytest.mark.parametrize(
    ("line", "label", "key", "asked"),
    [
        pytest.param({"key": "a", "request": REQUEST}, "a", "a", FILLED, id="no-label"),
        pytest.param({"request": REQUEST, "key": 5}, "5", "5", FILLED, id="number"),
        pytest.param(
            {"key": "a", "request": {**REQUEST, "labels": {"gemini_batch_key": "a", "team": "x"}}},
            "a",
            "a",
            orjson.dumps({**REQUEST, "labels": {"team": "x"}}),
            id="another-label",
        ),
        pytest.param(
            {"key": "a", "request": {"labels": {"gemini_batch_key": "a"}, **REQUEST}},
            "a",
            "a",
            FILLED,
            id="other-order",
        ),
        pytest.param(
            {"key": "a", "x": "y", "request": {**REQUEST, "labels": {"gemini_batch_key": "a"}}},
            "a",
            "a",
            FILLED,
            id="beside",
        ),
        pytest.param(
            {"key": "a", "request": {**REQUEST, "x": {"labels": {"gemini_batch_key": "b"}}}},
            "a",
            "a",
            orjson.dumps({**REQUEST, "x": {"labels": {"gemini_batch_key": "b"}}}),
            id="label-elsewhere",
        ),
    ],
)
def test_line_of_a_user_gives_its_key_and_fingerprint(line: Any, label: str, key: str, asked: bytes) -> None:
    reader = RequestReader(MODEL, ("isbn",))
    expected = [(label, fingerprint_of(MODEL, asked), key)]
    assert rows_of(reader, orjson.dumps(line)) == (expected, 0)
    assert rows_of(reader, json.dumps(line).encode() + b"\r\n") == (expected, 0)


def test_several_columns_are_read_from_the_key() -> None:
    reader = RequestReader(MODEL, ("isbn", "language"))
    ((row,), _) = rows_of(reader, request_line('["978-1","e\\"n"]', FILLED))
    assert row[2:] == ("978-1", 'e"n')


@pytest.mark.parametrize("key", ["978-1", '["978-1"]', '["a","b","c"]', "{}"])
def test_key_of_other_columns_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="give the same key as where the requests were built"):
        RequestReader(MODEL, ("isbn", "language")).read(request_line(key, FILLED))


@pytest.mark.parametrize(
    "line", [{"request": REQUEST}, {"key": None, "request": REQUEST}, {"id": "a", "request": REQUEST}]
)
def test_line_without_a_key_is_refused(line: Any) -> None:
    with pytest.raises(InvalidRequestError, match='a "key" beside its "request"'):
        RequestReader(MODEL, ("isbn",)).read(orjson.dumps(line))


@pytest.mark.parametrize(
    ("family", "line", "operator"),
    [
        (GENERATE_CONTENT, {"request": REQUEST}, "BuildGeminiRequestsOperator"),
        (GEMINI_EMBEDDING, {"request": {"content": {}}}, "BuildEmbeddingRequestsOperator"),
        (TEXT_EMBEDDING, {"content": "A"}, "BuildEmbeddingRequestsOperator"),
    ],
    ids=str,
)
def test_line_without_a_key_names_the_operator_that_gives_one(family: Any, line: Any, operator: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"build the requests with {operator}"):
        RequestReader(MODEL, ("isbn",), family).read(orjson.dumps(line))


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"key": "a", "request": "text"}', b"\xff"])
def test_line_that_holds_no_request_is_not_read(line: bytes) -> None:
    assert rows_of(RequestReader(MODEL, ("isbn",)), line) == ([], 1)


def test_digest_of_a_line_is_that_of_its_echo() -> None:
    echo = {
        "labels": None,
        "contents": [{"parts": [{"fileData": None, **REQUEST["contents"][0]["parts"][0]}], "role": "user"}],
    }
    digest = request_digest(echo).hex()
    reader = RequestReader(MODEL, ("isbn",))
    assert reader.content(request_line("OL1W", FILLED)) == ("key=OL1W;", digest, key_identity("OL1W"), "OL1W")
    assert reader.content(orjson.dumps({"key": "007", "request": REQUEST})) == ("007", digest, "7.0", "007")
    assert reader.content(b"{") is None


def test_lines_of_any_kind_stand_beside_each_other() -> None:
    reader = RequestReader(MODEL, ("isbn",))
    nested = {"x": {"key": "key=b;", "request": {}}, "key": "a", "request": REQUEST}
    lines = [
        request_line("1", FILLED),
        b"{\n",
        b"\n",
        orjson.dumps(nested) + b"\n",
        request_line("2", FILLED).strip(),
    ]
    found = [("key=1;", FINGERPRINT, "1"), ("a", FINGERPRINT, "a"), ("key=2;", FINGERPRINT, "2")]
    assert rows_of(reader, b"".join(lines)) == (found, 1)


def test_request_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_gemini_batch.landing.files.request_reader.LONGEST_ROW", 1000)
    lines = [request_line("1", FILLED), request_line("k" * 1000, FILLED), request_line("2", FILLED)]
    found, unreadable = rows_of(RequestReader(MODEL, ("isbn",)), b"".join(lines))
    assert ([row[2] for row in found], unreadable) == (["1", "2"], 1)


@pytest.mark.parametrize("length", ["768", '"768"'])
def test_requests_for_vectors_have_the_fingerprint_of_what_was_filled(length: str) -> None:
    text = '{"content":{"parts":[{"text":"a"}]},"embed_content_config":{"output_dimensionality":%s}}'
    reader = RequestReader(MODEL, ("isbn",), GEMINI_EMBEDDING)
    expected = ("key=1;", fingerprint_of(MODEL, (text % 768).encode()), "1")
    assert rows_of(reader, request_line("1", (text % length).encode())) == ([expected], 0)
