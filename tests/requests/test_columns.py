"""Values as texts by column: the same table of cases as value by value, and the same JSON as orjson's."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.requests.columns import escaped, joined, key_texts, rows_of, texts_of
from tests.requests.request_cases import NASTY
from tests.requests.value_cases import VALUE_CASES, ValueCase


def _characters() -> list[str]:
    return [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def _texts(batch: Any, column: str = "a") -> list[str | None]:
    return list(texts_of(batch, [column])[column].to_pylist())


def _array(values: list[Any]) -> Any:
    """Return an array, of dicts with their fields in the given order: before pyarrow 24 it is that of the alphabet."""
    if isinstance(values[0], dict):
        fields = [(name, _array([value]).type) for name, value in values[0].items()]
        return pa.array(values, pa.struct(fields))
    return pa.array(values)


@pytest.mark.parametrize("case", VALUE_CASES, ids=str)
def test_column_has_the_texts_of_its_values(case: ValueCase) -> None:
    assert _texts([{"a": case.value}, {"a": None}, {}]) == [case.text, None, None]


@pytest.mark.parametrize("case", [case for case in VALUE_CASES if case.kind not in ("JSON",)], ids=str)
def test_typed_column_has_the_texts_of_its_values(case: ValueCase) -> None:
    try:
        values = _array([case.value, None])
    except (pa.ArrowException, OverflowError, TypeError):
        pytest.skip("pyarrow has no such type")
    assert _texts(pa.record_batch({"a": values})) == [case.text, None]


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        (pa.int8(), [-7], ["-7"]),
        (pa.uint64(), [2**64 - 1], [str(2**64 - 1)]),
        (pa.bool_(), [True, False], ["true", "false"]),
        (pa.large_string(), ["é"], ["é"]),
        (pa.string_view(), ["é"], ["é"]),
        (pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a"], ["a", "b", "a"]),
        (pa.null(), [None], [None]),
        (pa.float32(), [0.5, float("nan")], ["0.5", None]),
    ],
)
def test_each_type_of_column_has_its_texts(kind: pa.DataType, values: list[Any], texts: list[str]) -> None:
    assert _texts(pa.record_batch({"a": pa.array(values, kind)})) == texts


def test_column_that_is_not_there_is_null() -> None:
    assert _texts(pa.record_batch({"b": [1, 2]})) == [None, None]
    assert len(texts_of([{}, {}], [])) == 2


def test_lone_surrogate_is_no_text() -> None:
    with pytest.raises(UnicodeEncodeError):
        texts_of([{"a": "\ud800"}], ["a"])


def test_rows_of_a_table_are_mappings() -> None:
    rows = [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert list(rows_of(pa.RecordBatch.from_pylist(rows))) == list(rows_of(rows)) == rows


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([*NASTY, "", "\x7f", "\x7f\x7f"], id="with-the-separator"),
        pytest.param(['"'], id="one"),
        pytest.param(["", ""], id="empty"),
        pytest.param([], id="none"),
    ],
)
def test_texts_are_escaped_as_orjson_does(texts: list[str]) -> None:
    expected = pa.array([orjson.dumps(text)[1:-1] for text in texts], pa.string())
    assert escaped(pa.array(texts, pa.string())).equals(expected)
    assert escaped(pa.array(["x", *texts, "x"], pa.string()).slice(1, len(texts))).equals(expected)


def test_each_character_is_escaped_as_orjson_does() -> None:
    characters = _characters()
    # The first ones alone, the others beside one another, where a text of each takes seconds.
    beside = ["".join(characters[start : start + 64]) for start in range(0, len(characters), 64)]
    test_texts_are_escaped_as_orjson_does(characters[:0x3000] + beside)


def test_null_stays_null() -> None:
    assert escaped(pa.array(["a", None, '"'])).to_pylist() == ["a", None, '\\"']
    assert joined(["<", pa.array(["a", None]), ">"], 2).to_pylist() == ["<a>", None]
    assert joined(["a", "b"], 2).to_pylist() == ["ab", "ab"]


@pytest.mark.parametrize("columns", [("a",), ("a", "b"), ("a", "b", "c")])
def test_keys_are_those_of_single_rows(columns: tuple[str, ...]) -> None:
    rows = [
        {"a": text, "b": number, "c": f"{text}\x7f"} for number, text in enumerate([*NASTY, "\u2028", ""])
    ]
    expected = [key_text([row[column] for column in columns]) for row in rows]
    batch = texts_of([*rows, {"b": 1, "c": "x"}], columns)
    assert key_texts(batch, columns).to_pylist() == [*expected, None]


def test_white_space_is_what_it_is_for_python() -> None:
    characters = _characters()
    blank = pc.equal(pc.utf8_trim_whitespace(pa.array(characters)), "").to_pylist()
    assert [one for one, is_blank in zip(characters, blank, strict=True) if is_blank != one.isspace()] == []
