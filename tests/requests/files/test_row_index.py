from __future__ import annotations

import random

import pytest

from airflow_gemini_batch.requests.done import Mark, Place
from airflow_gemini_batch.requests.files.row_index import (
    DONE,
    FAILED,
    KINDS,
    REPEATED,
    RowIndex,
    records_of,
)
from airflow_gemini_batch.requests.row_kinds import RowCount, RowKind

NEW, FAILED_BEFORE, CHANGED_DATA, CHANGED_QUESTION, CHANGED = range(len(KINDS))


@pytest.fixture
def index(tmp_path):
    return RowIndex(tmp_path, ["now", "then"])


def add(
    index: RowIndex, keys: list[str], now: list[str] | None = None, then: list[str] | None = None
) -> None:
    nothing = [""] * len(keys)
    index.add_records(records_of(keys, [now or nothing, then or nothing], [10] * len(keys), [1] * len(keys)))


def test_no_rows(index) -> None:
    assert list(index.sort().states) == []


def test_first_row_of_a_key_counts(index) -> None:
    add(index, ["a", "b", "a"])
    add(index, ["c", "b", "a"])
    found = index.sort()
    assert list(found.states) == [NEW, NEW, REPEATED, NEW, REPEATED, REPEATED]
    assert found.counts == {RowKind.NEW: RowCount(3, 30, 3)}


@pytest.mark.parametrize("key", ['a/b"c', "x" * 10_000, "", "日本😀", "\0", "a\nb"])
def test_any_key_equals_itself_only(index, key: str) -> None:
    add(index, [key, f"{key}x", f"\0{key}", key])
    assert list(index.sort().states) == [NEW, NEW, NEW, REPEATED]


TARGET, ASKED, CANARY, BAD, TRIED = Place


@pytest.mark.parametrize(
    ("marks", "state"),
    [
        pytest.param([], NEW, id="nothing is known"),
        pytest.param([("b", "1", TARGET, "now")], NEW, id="another row"),
        pytest.param([("a", "1", TARGET, "")], DONE, id="answered"),
        pytest.param([("a", "1", TARGET, "then")], DONE, id="answered by another question"),
        pytest.param([("a", "1", ASKED, "")], DONE, id="asked at this moment"),
        pytest.param([("a", "1", CANARY, "now")], NEW, id="a canary has asked it"),
        pytest.param([("a", "1", BAD, "")], FAILED, id="failed for good"),
        pytest.param([("a", "2", BAD, "")], FAILED_BEFORE, id="another request failed for good"),
        pytest.param([("a", "1", TRIED, "")], FAILED_BEFORE, id="failed"),
        pytest.param([("a", "1", BAD, ""), ("a", "1", TARGET, "now")], DONE, id="failed, answered"),
        pytest.param([("a", "2", TARGET, "now")], CHANGED_DATA, id="other data"),
        pytest.param([("a", "0", TARGET, "then")], CHANGED_QUESTION, id="other question"),
        pytest.param([("a", "9", TARGET, "then")], CHANGED_DATA, id="other question and data"),
        pytest.param([("a", "2", TARGET, "lost")], CHANGED, id="question is not known"),
        pytest.param([("a", "2", TARGET, "")], CHANGED, id="no question is told"),
        pytest.param([("a", "0", TARGET, "then"), ("a", "1", TRIED, "")], CHANGED_QUESTION),
        pytest.param([("a", "0", TARGET, "then"), ("a", "1", ASKED, "")], DONE),
    ],
)  # fmt: skip
def test_state_of_a_row(index, marks, state) -> None:
    index.add_marks(Mark(*mark) for mark in marks)
    add(index, ["a"], ["1"], ["0"])
    found = index.sort()
    assert (list(found.states), list(found.answered)) == (
        [state],
        [any(mark[2] == "canary" for mark in marks)],
    )
    assert found.counts == ({KINDS[state]: RowCount(1, 10, 1)} if state < len(KINDS) else {})
    assert found.answers == (["then"] if state == CHANGED_QUESTION else [])


def test_repeated_key_is_repeated_even_when_it_is_done(index) -> None:
    index.add_marks([Mark("a", "1", TARGET)] * 2)
    add(index, ["a", "a", "a"], ["1", "1", "2"])
    assert list(index.sort().states) == [DONE, REPEATED, REPEATED]


def test_many_rows_are_told_apart(tmp_path) -> None:
    index = RowIndex(tmp_path, block_rows=1000)
    chance = random.Random(1)
    keys = [f"key-{chance.randrange(20_000)}" for _ in range(30_000)]
    done = {f"key-{number}" for number in range(0, 20_000, 3)}
    index.add_marks(Mark(key, f"of {key}", TARGET) for key in done)
    for start in range(0, len(keys), 700):
        batch = keys[start : start + 700]
        index.add_records(records_of(batch, [[f"of {key}" for key in batch]]))
    seen: set[str] = set()
    expected = []
    for key in keys:
        expected.append(REPEATED if key in seen else DONE if key in done else NEW)
        seen.add(key)
    assert list(index.sort().states) == expected
