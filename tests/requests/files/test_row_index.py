from __future__ import annotations

import random

import pytest

from airflow_gemini_batch.requests.files.row_index import DONE, FAILED, NEW, REPEATED, RowIndex


@pytest.fixture
def index(tmp_path):
    return RowIndex(tmp_path)


def add(index: RowIndex, keys: list[str], fingerprints: list[str] | None = None) -> None:
    index.add(keys, fingerprints or [], [10] * len(keys), [1] * len(keys))


def test_no_rows(index) -> None:
    assert index.sort().states == b""


def test_first_row_of_a_key_counts(index) -> None:
    add(index, ["a", "b", "a"])
    add(index, ["c", "b", "a"])
    found = index.sort()
    assert list(found.states) == [NEW, NEW, REPEATED, NEW, REPEATED, REPEATED]
    assert (found.characters, found.media) == (30, 3)


@pytest.mark.parametrize("key", ['a/b"c', "x" * 10_000, "", "日本😀", "\0", "a\nb"])
def test_any_key_equals_itself_only(index, key: str) -> None:
    add(index, [key, f"{key}x", f"\0{key}", key])
    assert list(index.sort().states) == [NEW, NEW, NEW, REPEATED]


def test_row_that_was_asked_the_same_is_done(index) -> None:
    index.add_done([("a", "1"), ("b", "1"), ("a", "2"), ("gone", "1")])
    add(index, ["a", "b", "c"], ["2", "2", "1"])
    found = index.sort()
    assert list(found.states) == [DONE, NEW, NEW]
    assert (found.characters, found.media) == (20, 2)


def test_repeated_key_is_repeated_even_when_it_is_done(index) -> None:
    index.add_done([("a", "1"), ("a", "1")])
    add(index, ["a", "a", "a"], ["1", "1", "2"])
    assert list(index.sort().states) == [DONE, REPEATED, REPEATED]


def test_row_that_failed_before_is_done_if_it_has_an_answer_as_well(index) -> None:
    index.add_failed([("a", "1"), ("b", "1"), ("b", "1"), ("c", "2")])
    index.add_done([("a", "1"), ("d", "1")])
    add(index, ["a", "b", "c", "d", "b"], ["1"] * 5)
    found = index.sort()
    assert list(found.states) == [DONE, FAILED, NEW, DONE, REPEATED]
    assert (found.characters, found.media) == (10, 1)


def test_many_rows_are_told_apart(tmp_path) -> None:
    index = RowIndex(tmp_path, block_rows=1000)
    chance = random.Random(1)
    keys = [f"key-{chance.randrange(20_000)}" for _ in range(30_000)]
    done = {f"key-{number}" for number in range(0, 20_000, 3)}
    index.add_done((key, f"of {key}") for key in done)
    for start in range(0, len(keys), 700):
        batch = keys[start : start + 700]
        add(index, batch, [f"of {key}" for key in batch])
    seen: set[str] = set()
    expected = []
    for key in keys:
        expected.append(REPEATED if key in seen else DONE if key in done else NEW)
        seen.add(key)
    assert list(index.sort().states) == expected
