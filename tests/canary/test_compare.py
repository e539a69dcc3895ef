"""Old and new answers compared: tables of cases, and two models that disagree on a known share of rows."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from typing import Any

import pytest

from airflow_gemini_batch.canary.compare import (
    LONGEST_VALUE,
    MOST_CATEGORIES,
    MOST_DIFFERENCES,
    MOST_SHOWN,
    compare,
    cosine,
)
from airflow_gemini_batch.canary.figures import Share
from airflow_gemini_batch.canary.report import CanaryReport, Category, FieldReport, Numbers
from airflow_gemini_batch.canary.rows import CanaryRows
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.outputs.embeddings import embedding_columns
from tests.canary.answers import by_key, columns, two_models

BOOK = columns(genre=str, pages=int)


def compared(old: list[Any], new: list[Any], kind: Any = str) -> tuple[CanaryReport, FieldReport]:
    """Compare the values of one column."""
    rows = CanaryRows(by_key(*({"n": one} for one in new)), by_key(*({"n": one} for one in old)))
    report = compare(rows, columns(n=kind), question="q")
    (field,) = report.fields
    return report, field


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 1.0])
def test_agreement_is_that_of_two_models_within_the_bounds_of_the_sample(share):
    """In 95 of 100 samples the interval holds the agreement of all rows; so it does here, with room for chance."""
    samples = 150
    agreements = [
        compare(two_models(seed, 200, share), BOOK, question="q").agreement for seed in range(samples)
    ]
    outside = sum(not one.interval[0] <= 1 - share <= one.interval[1] for one in agreements)
    # Expected 5 %, with a standard deviation of 1.8 %.
    assert outside <= 0.1 * samples
    if share == 0:
        assert {one.value for one in agreements} == {1.0}
    if share == 1:
        assert {one.value for one in agreements} == {0.0}
    average = sum(one.value or 0 for one in agreements) / samples
    assert average == pytest.approx(1 - share, abs=4 * math.sqrt(share * (1 - share) / 200 / samples))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 1.0])
def test_each_field_has_its_own_agreement(share):
    genre, pages = compare(two_models(7, 200, share), BOOK, question="q").fields
    assert pages.agreement == Share(200, 200)
    assert genre.agreement == compare(two_models(7, 200, share), BOOK, question="q").agreement


def test_row_agrees_when_all_its_fields_do():
    old = by_key({"genre": "a", "pages": 1}, {"genre": "b", "pages": 2}, {"genre": "c", "pages": 3})
    new = by_key({"genre": "a", "pages": 1}, {"genre": "x", "pages": 2}, {"genre": "c", "pages": 4})
    report = compare(CanaryRows(new, old), BOOK, question="q")
    assert report.agreement == Share(1, 3)
    assert [field.agreement for field in report.fields] == [Share(2, 3), Share(2, 3)]


def test_only_rows_with_both_answers_are_compared():
    rows = CanaryRows(
        {"a": {"n": "1"}, "b": {"n": "1"}},
        {"a": {"n": "1"}, "c": {"n": "1"}},
        {"d": "invalid", "e": "blocked"},
    )
    report = compare(rows, columns(n=str), question="q")
    assert report.agreement == Share(1, 1)
    assert (report.answered, report.invalid) == (2, Share(2, 4))
    assert report.failed == {"invalid": 1, "blocked": 1}


def test_nothing_to_compare_is_unknown():
    report = compare(CanaryRows({}, {}), BOOK, question="q")
    assert report.agreement.value is None
    assert report.invalid.value is None
    assert all(field.agreement.value is None for field in report.fields)
    json.dumps(report.to_json(), allow_nan=False)


def test_nulls_are_counted_on_both_sides():
    _, field = compared(["a", None, None, "d"], ["a", None, "c", None])
    assert (field.null_old, field.null_new, field.agreement) == (Share(2, 4), Share(2, 4), Share(2, 4))
    _, field = compared([["a"], []], [[], None], list[str])
    assert (field.null_old, field.null_new, field.agreement) == (Share(1, 2), Share(2, 2), Share(1, 2))


@pytest.mark.parametrize(
    ("old", "new", "kind", "categories", "shift"),
    [
        (["a", "a", "b", "b"], ["a", "a", "a", "b"], str, [("a", 2, 3), ("b", 2, 1)], 0.25),
        (["a"] * 4, ["b"] * 4, str, [("a", 4, 0), ("b", 0, 4)], 1.0),
        (["a", None, "a", "a"], ["a", None, "b", "a"], str, [("a", 3, 2), ("b", 0, 1)], 1 / 3),
        ([True, False] * 2, [True] * 4, bool, [("true", 2, 4), ("false", 2, 0)], 0.5),
        ([["x", "y"]] * 2, [["x", "y"], ["x"]], list[str], [("x", 2, 2), ("y", 2, 1)], 1 / 6),
        # A text of its own for each row is not a category.
        (list("abcdefgh"), list("abcdefgh"), str, [], None),
        ([str(n % 21) for n in range(100)], ["1"] * 100, str, [], None),
        ([None], [None], str, [], None),
    ],
)
def test_categories_shift(old, new, kind, categories, shift):
    _, field = compared(old, new, kind)
    assert list(field.categories) == [Category(*one) for one in categories]
    assert field.shift == (None if shift is None else pytest.approx(shift))
    assert (field.lengths is None) == (bool(categories) or kind is not str or old == [None])


def test_most_frequent_categories_are_shown():
    values = [f"genre {n % MOST_CATEGORIES}" for n in range(200)] + ["genre 7"] * 5
    _, field = compared(values, values)
    assert len(field.categories) == MOST_SHOWN
    assert field.categories[0] == Category("genre 7", 15, 15)


@pytest.mark.parametrize(
    ("old", "new", "kind", "numbers"),
    [
        ([1, 2, 3], [1, 4, 2], int, Numbers(1.0, 1.0, 1.9, 2.0)),
        ([1.0, None, 2.0], [1.5, 3.0, None], float, Numbers(0.5, 0.5, 0.5, 0.5)),
        ([None], [1], int, None),
    ],
)
def test_numbers_differ_by(old, new, kind, numbers):
    _, field = compared(old, new, kind)
    if numbers is None:
        assert field.numbers is None
    else:
        assert field.numbers == Numbers(*map(pytest.approx, astuple(numbers)))


def test_texts_have_a_mean_length():
    _, field = compared(["abcd", "ef", None], ["a", "b", "c"])
    assert field.lengths == (3.0, 1.0)


GOLDEN = {"a": {"n": "1"}, "b": {"n": "2"}, "c": {"n": "3"}, "d": {"n": "4"}}


def test_golden_rows_give_accuracy():
    rows = CanaryRows(
        new={"a": {"n": "1"}, "b": {"n": "x"}, "e": {"n": "5"}},
        old={"a": {"n": "0"}, "b": {"n": "2"}, "e": {"n": "5"}},
        failed={"c": "invalid"},
        golden=GOLDEN,
    )
    report = compare(rows, columns(n=str), question="q")
    # One is right, one is wrong, one has failed, one was not asked.
    assert (report.golden_rows, report.golden, report.golden_before) == (4, Share(1, 3), Share(1, 2))
    assert report.fields[0].golden == Share(1, 3)
    # They were chosen, so they say nothing of the others.
    assert (report.agreement, report.compared_golden) == (Share(1, 1), False)


def test_without_other_rows_golden_ones_are_compared():
    rows = CanaryRows({"a": {"n": "1"}, "b": {"n": "x"}}, {"a": {"n": "1"}, "b": {"n": "2"}}, golden=GOLDEN)
    report = compare(rows, columns(n=str), question="q")
    assert (report.agreement, report.compared_golden) == (Share(1, 2), True)


def test_golden_rows_are_checked_in_the_columns_that_they_have():
    new = {"a": {"genre": "x", "pages": 1}, "b": {"genre": None, "pages": 2}}
    rows = CanaryRows(new, {}, golden={"a": {"pages": "1"}, "b": {"pages": 3}})
    report = compare(rows, BOOK, question="q")
    assert report.golden == Share(1, 2)
    assert [field.golden for field in report.fields] == [None, Share(1, 2)]
    # NULL in a golden row means that NULL is right.
    rows = replace(rows, golden={"a": {"genre": None}, "b": {"genre": None}})
    assert compare(rows, BOOK, question="q").golden == Share(1, 2)


def test_golden_rows_that_were_not_asked_are_unknown():
    report = compare(CanaryRows({"z": {"n": "1"}}, {}, golden=GOLDEN), columns(n=str), question="q")
    assert (report.golden.value, report.golden_rows) == (None, 4)
    assert compare(CanaryRows({}, {}), BOOK, question="q").golden_rows is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 0], [2, 0], 1.0),
        ([1, 0], [0, 1], 0.0),
        ([1, 0], [-1, 0], -1.0),
        ([3, 4], [4, 3], 0.96),
        ([0, 0], [1, 0], None),
        ([1, 0], [1, 0, 0], None),
        (None, [1], None),
        ([], [], None),
    ],
)
def test_cosine(one, other, expected):
    assert cosine(one, other) == (None if expected is None else pytest.approx(expected))


def test_vectors_agree_by_cosine():
    pairs = [([1, 0], [1, 0]), ([1, 0], [1, 0.1]), ([3, 4], [4, 3]), ([1, 0], [1, 0, 0]), ([1, 0], None)]
    old, new = (by_key(*({"embedding": pair[side]} for pair in pairs)) for side in (0, 1))
    report = compare(
        CanaryRows(new, old), embedding_columns("embedding")[:1], question="q", vector="embedding"
    )
    (field,) = report.fields
    assert report.agreement == field.agreement == Share(2, 5)
    assert field.vectors
    assert field.vectors.mean == pytest.approx((1 + 1 / math.sqrt(1.01) + 0.96) / 3)
    assert field.vectors.other_lengths == 2
    assert (field.null_old, field.null_new) == (Share(0, 5), Share(1, 5))
    assert [one.new for one in report.differences] == ["cosine 0.9600", "no cosine"]


def test_a_handful_of_differences_is_shown_shortened():
    old = by_key(*({"genre": "a" * 500, "pages": n} for n in range(100)))
    new = by_key(*({"genre": "b" * 500, "pages": None} for n in range(100)))
    report = compare(CanaryRows(new, old), BOOK, question="q")
    assert [(one.key, one.field) for one in report.differences] == [
        ("978-0", "genre"),
        ("978-1", "genre"),
        ("978-0", "pages"),
        ("978-1", "pages"),
    ]
    assert {len(one.old) for one in report.differences[:2]} == {LONGEST_VALUE}
    assert report.differences[2].new == "NULL"
    many = compare(
        CanaryRows(by_key({f"n{n}": "b" for n in range(50)}), by_key({f"n{n}": "a" for n in range(50)})),
        [AnswerColumn(f"n{n}", "STRING") for n in range(50)],
        question="q",
    )
    assert len(many.differences) == MOST_DIFFERENCES


def test_report_is_small_json_without_the_rows():
    rows = CanaryRows(
        by_key(*({"genre": f"a long text {n} " * 50, "pages": n} for n in range(1000))),
        by_key(*({"genre": f"another text {n} " * 50, "pages": n} for n in range(1000))),
    )
    content = json.dumps(compare(rows, BOOK, question="q").to_json(), allow_nan=False)
    assert len(content) < 3000
