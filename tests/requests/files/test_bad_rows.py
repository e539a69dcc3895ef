from __future__ import annotations

from airflow_gemini_batch.requests.files.builder import BadRowCounts
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BadRow, BadRows


def test_nothing_was_counted() -> None:
    assert BadRowCounts().by_reason() == {}


def test_rows_are_counted_by_fault() -> None:
    bad = BadRowCounts()
    bad.add(BadRow.NULL_KEY, "row 1")
    bad.add(BadRow.EMPTY_PROMPT, "a")
    bad.add(BadRow.NULL_KEY, "row 3")
    assert bad.by_reason() == {
        BadRow.NULL_KEY: BadRows(2, ("row 1", "row 3")),
        BadRow.EMPTY_PROMPT: BadRows(1, ("a",)),
    }


def test_few_keys_are_kept_each_once() -> None:
    bad = BadRowCounts()
    bad.add(BadRow.DUPLICATE_KEY, "a", "a", "b", count=70)
    for number in range(100):
        bad.add(BadRow.DUPLICATE_KEY, f"key-{number}")
    found = bad.by_reason()[BadRow.DUPLICATE_KEY]
    assert (found.count, len(found.keys), found.keys[:3]) == (170, SHOWN_KEYS, ("a", "b", "key-0"))


def test_keys_can_be_printed() -> None:
    bad = BadRowCounts()
    bad.add(BadRow.NOT_TEXT, "\ud800", "x" * 10_000)
    assert bad.by_reason()[BadRow.NOT_TEXT].keys == ("\\ud800", "x" * 100)
