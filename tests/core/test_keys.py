from __future__ import annotations

import contextlib
import json
from datetime import date, datetime, time
from typing import Any

import pytest

from airflow_gemini_batch.core.keys import (
    is_sent_key,
    key_identity,
    key_text,
    key_values,
    label_identity,
    sent_key,
    text_of_key,
)
from tests.support.odd_keys import ODD_KEYS

KEYS = [
    pytest.param("book-1", id="plain"),
    pytest.param("007", id="leading-zeros"),
    pytest.param('a/b"c', id="slash-and-quote"),
    pytest.param("x" * 10_000, id="long"),
    pytest.param("Ünï日本😀", id="alphabets"),
    pytest.param("a\nb\\c", id="newline-and-backslash"),
    pytest.param('["a","b"]', id="json"),
    pytest.param(" ", id="space"),
    pytest.param("", id="empty"),
]


@pytest.mark.parametrize("key", KEYS)
def test_key_of_one_column_is_its_value(key: str) -> None:
    assert key_text([key]) == key
    assert key_values(key, ["id"]) == {"id": key}


@pytest.mark.parametrize("key", KEYS)
def test_key_of_two_columns_comes_back(key: str) -> None:
    assert key_values(key_text([key, "x"]), ["a", "b"]) == {"a": key, "b": "x"}
    assert key_values(key_text(["x", key]), ["a", "b"]) == {"a": "x", "b": key}


def test_keys_of_two_columns_stay_apart() -> None:
    pairs = [("a", "b"), ("a,b", ""), ("", "a,b"), ('a","b', ""), ("a", '"b'), ("ab", "")]
    assert len({key_text(pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize(
    ("values", "text"),
    [([7], "7"), ([7.0], "7"), ([True], "true"), ([1, "a"], '["1","a"]'), ([2**70], str(2**70))],
)
def test_values_become_texts(values: list[Any], text: str) -> None:
    assert key_text(values) == text


@pytest.mark.parametrize("values", [[None], ["a", None], [None, None], [float("nan")]])
def test_null_is_no_key(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="the key is NULL"):
        key_text(values)


@pytest.mark.parametrize("text", ["a", '["a"]', '["a","b","c"]', "{}", "5", ""])
def test_key_of_another_number_of_columns_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not hold the columns a, b"):
        key_values(text, ["a", "b"])


@pytest.mark.parametrize("key", ODD_KEYS, ids=repr)
def test_sent_key_is_read_as_nothing_but_text(key: str) -> None:
    sent = sent_key(key)
    for read in (json.loads, float, date.fromisoformat, datetime.fromisoformat, time.fromisoformat):
        with contextlib.suppress(ValueError):
            pytest.fail(f"{read} reads {read(sent)!r}")
    assert sent == sent.strip()
    assert sent.casefold() not in ("true", "false", "null", "none", "nan", "yes", "no", "")
    assert is_sent_key(sent)
    assert text_of_key(sent) == key
    assert key_identity(sent) == sent


@pytest.mark.parametrize("key", ["book-1", "key=", "key=1", "=1;", 5, None, True], ids=repr)
def test_other_key_stands_for_itself(key: Any) -> None:
    assert not is_sent_key(key)
    assert text_of_key(key) == key_text(["" if key is None else key])


@pytest.mark.parametrize(
    ("sent", "came"),
    [
        ("000000", 0),
        ("-0", 0),
        ("1e5", 100000.0),
        ("1e5", "100000.0"),
        ("12", 12.0),
        ("9780439023480", 9.78043902348e12),
        ("0.50", "0.5"),
        (" a ", "a"),
        (" 7", 7),
        (2**63, float(2**63)),
        ("book-1", "book-1"),
    ],
)
def test_bare_key_is_known_again_with_another_type(sent: Any, came: Any) -> None:
    assert key_identity(sent) == key_identity(came) is not None


@pytest.mark.parametrize(
    ("key", "label"),
    [("book-1", "book-1"), ("007", "007"), ("ISBN 978/0", "h-499a922cb77b6b8c684daef0110a7eaa")],
)
def test_label_of_the_release_before_is_known_again(key: str, label: str) -> None:
    assert label_identity(label) == key_identity(key) is not None


def test_bare_keys_that_stay_as_they_are_stay_apart() -> None:
    keys = ["A", "a", "a b", "a-b", "h-a", "ha", "0x1f", "978_0", "e5", "1e", "k" * 10_000, "ü", "1", "2"]
    assert len({key_identity(key) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "null",
        "None",
        "TRUE",
        True,
        False,
        "no",
        "NaN",
        "-Infinity",
        "1e999",
        10**400,
        '["a","b"]',
        ["a"],
        "2026-01-31",
        "2026-01-31T10:00:00Z",
        "31/1/2026",
        "10:30",
    ],
    ids=repr,
)
def test_bare_key_that_may_become_anything_says_nothing(key: Any) -> None:
    assert key_identity(key) is None
