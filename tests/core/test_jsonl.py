from __future__ import annotations

import pytest

from airflow_gemini_batch.core.jsonl import tolerant_object


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param(b'{"a": 1}', {"a": 1}, id="json"),
        pytest.param(b'\xef\xbb\xbf{"a": 1}', {"a": 1}, id="byte-order-mark"),
        pytest.param(b'{"a": NaN, "b": [-Infinity]}', {"a": None, "b": [None]}, id="no-number"),
        pytest.param(
            b'{"a": 1e400, "b": -1e400, "c": 1e30}', {"a": None, "b": None, "c": 1e30}, id="too-great"
        ),
        pytest.param(b'{"a": [1, ], "b": ",]", }', {"a": [1], "b": ",]"}, id="commas"),
        pytest.param(b'{"a\\",]": {"b": "\\\\",},}', {'a",]': {"b": "\\"}}, id="commas-in-strings"),
        pytest.param(b'{"a": "x\\ud83d"}', {"a": "x\ufffd"}, id="half-a-pair-escaped"),
        pytest.param(b'{"a": "\xed\xa0\xbd!"}', {"a": "\ufffd!"}, id="half-a-pair-in-bytes"),
        pytest.param(b'{"\\udc00": NaN}', {"\ufffd": None}, id="half-a-pair-in-a-name"),
        pytest.param(b'{"a": "\\ud83d\\ude00", "b": NaN}', {"a": "\U0001f600", "b": None}, id="whole-pair"),
    ],
)
def test_object_is_read_in_spite_of_a_detail(line: bytes, value: object) -> None:
    assert tolerant_object(line) == value


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"a": "',
        b"[]",
        b"null",
        b"NaN",
        b"\xff",
        b'{"a": "\xff"}',
        b"{} {}",
        b"[" * 100_000,
        b'{"a":' * 5000,
    ],
)
def test_what_holds_no_object_is_none(line: bytes) -> None:
    assert tolerant_object(line) is None
