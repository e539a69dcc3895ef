from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_gemini_batch.core.keys import key_label, key_text, key_values

LEGAL = re.compile(r"[a-z0-9_-]{1,63}")

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


@pytest.mark.parametrize("key", ["book-1", "007", "a_b-c", "x" * 63])
def test_legal_label_is_the_key(key: str) -> None:
    assert key_label(key) == key


@pytest.mark.parametrize(
    "key", ["", "A", "a b", "x" * 64, 'a/b"c', "ü", "a\n", "h-abc", "x" * 10_000, "\ud800"]
)
def test_other_key_becomes_a_legal_label(key: str) -> None:
    label = key_label(key)
    assert LEGAL.fullmatch(label)
    assert label != key
    assert label == key_label(key)


def test_labels_stay_apart() -> None:
    keys = ["A", "a", "a b", "a-b", "h-a", "ha", key_label("A"), ""]
    assert len({key_label(key) for key in keys}) == len(keys)
