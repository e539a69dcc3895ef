from __future__ import annotations

from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BadRows


def test_rows_are_counted_with_their_keys() -> None:
    assert BadRows().plus(1, ["row 1"]).plus(1, ["row 3"]) == BadRows(2, ("row 1", "row 3"))


def test_few_keys_are_kept_each_once() -> None:
    bad = BadRows().plus(70, ["a", "a", "b"])
    for number in range(100):
        bad = bad.plus(1, [f"key-{number}"])
    assert (bad.count, len(bad.keys), bad.keys[:3]) == (170, SHOWN_KEYS, ("a", "b", "key-0"))


def test_keys_can_be_printed() -> None:
    assert BadRows().plus(2, ["\ud800", "x" * 10_000]).keys == ("\\ud800", "x" * 100)
