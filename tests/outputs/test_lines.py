"""Lines as DuckDB and Python read them together: each is one row, or counted as one that can't be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.outputs.lines import read_lines
from tests.outputs.row_shapes import candidate


def said(text: str, reason: str = "STOP", **more: object) -> dict[str, Any]:
    return candidate(reason, {"parts": [{"text": text}]}, **more)


GOOD = json.dumps({"key": "key=1;", "status": "", "response": candidate()}).encode()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"{}", id="nothing"),
        pytest.param(b'{"status": null}', id="null"),
        pytest.param(b'{"other": 1}', id="no-field-that-is-read"),
        pytest.param(b'{"key": "key=2;", "status": NaN}', id="not-a-number"),
        pytest.param(b'{"key": "key=2;", "response": {"a": [1,]}}', id="comma-at-the-end"),
        pytest.param(b'{"key": "2", "request": {"a": NaN}}', id="not-a-number-in-what-was-asked"),
        pytest.param(b'{"key": "2", "request": {"a": 1e400}}', id="infinity-in-what-was-asked"),
        pytest.param(b'{"key": "2", "request": {"a": [1,]}}', id="comma-in-what-was-asked"),
        pytest.param(b'{"key": "key=2;", "status": "\\ud83d"}', id="half-a-character"),
        pytest.param(b'{"key": "2", "request": {"a": "\\ud83d"}}', id="half-a-character-in-what-was-asked"),
    ],
)
def test_object_is_one_row(tmp_path: Path, line: bytes) -> None:
    read = read_lines(tmp_path, [GOOD, line, GOOD], ["outcome"])
    assert (len(read.rows), read.unreadable) == (3, 0)


@pytest.mark.parametrize(
    "line", [b"[]", b"5", b"null", b'"text"', b"<html>", GOOD[:-1], GOOD + GOOD, b"\xff\xfe"]
)
def test_what_is_no_object_is_counted_once(tmp_path: Path, line: bytes) -> None:
    read = read_lines(tmp_path, [line, GOOD, b"", b" \t", line, GOOD], ["outcome"])
    assert (len(read.rows), read.unreadable) == (2, 2)


def test_lines_of_many_files_are_read_as_those_of_one(tmp_path: Path) -> None:
    keys = [f"key={number};" for number in range(30)] + [f"{number}" for number in range(30)]
    lines = [
        *(json.dumps({"key": key, "status": "", "response": said(key)}).encode() for key in keys),
        *(b'{"key": "key=a;", "status": NaN}', b"<html>", b"[]") * 10,
    ]
    one = read_lines(tmp_path, lines, ["answer_text", "outcome", "message"])
    many = read_lines(tmp_path, lines, ["answer_text", "outcome", "message"], each_alone=True)
    assert (len(one.rows), one.unreadable) == (70, 20)
    assert many.unreadable == 20
    assert sorted(map(str, many.rows)) == sorted(map(str, one.rows))


@pytest.mark.parametrize("size", [3_000, 300_000])
@pytest.mark.parametrize(
    ("key", "response", "outcome"),
    [
        pytest.param("1", said, "ok", id="key-of-a-user"),
        pytest.param("key=1;", lambda text: said("", "SAFETY", rest=text), "blocked", id="blocked"),
        pytest.param("key=1;", lambda text: {**said(text), "text": 5}, "ok", id="odd"),
        pytest.param(
            "1", lambda text: {"text": 5, "promptFeedback": {"blockReason": text}}, "blocked", id="prompt"
        ),
    ],
)
def test_long_lines_take_no_more_memory_than_there_is(
    tmp_path: Path, size: int, key: str, response: Callable[[str], object], outcome: str
) -> None:
    line = json.dumps({"key": key, "status": "", "response": response("x" * size)}).encode()
    read = read_lines(tmp_path, [line] * (12_000_000 // size), ["outcome"])
    assert (len(read.rows), {row[1] for row in read.rows}) == (12_000_000 // size, {outcome})
