"""Values are equal where they mean the same, wherever they were read."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from airflow_gemini_batch.canary.values import comparable
from airflow_gemini_batch.core.response_schema import AnswerColumn

SAME = [
    ("STRING", "a", "a"),
    ("STRING", None, math.nan),
    ("STRING", "12", 12),  # a CSV file whose column is all numbers
    ("INT64", 12, "12"),
    ("INT64", 12, 12.0),
    ("INT64", 12, Decimal(12)),
    ("INT64", 2**60 + 1, str(2**60 + 1)),
    ("FLOAT64", 1, 1.0),
    ("FLOAT64", 0.1, "0.1"),
    ("FLOAT64", -0.0, 0.0),
    ("BOOL", True, "TRUE"),
    ("BOOL", False, "false"),
    ("JSON", {"a": 1, "b": [1, 2]}, '{"b": [1.0, 2], "a": 1}'),
    ("JSON", [{"n": None}], '[{"n":null}]'),
    ("JSON", "plain", '"plain"'),
    ("JSON", None, "null"),
]
OTHER = [
    ("STRING", "a", "A"),
    ("STRING", "a", "a "),
    ("STRING", "", None),
    ("INT64", 12, 13),
    ("INT64", 12, "12.5"),
    ("INT64", 12, "twelve"),
    ("INT64", 0, None),
    ("FLOAT64", 0.1, 0.1 + 1e-12),
    ("FLOAT64", 1.0, "inf"),
    ("BOOL", True, False),
    ("BOOL", True, "yes"),
    ("BOOL", False, None),
    ("JSON", {"a": 1}, {"a": True}),
    ("JSON", {"a": 1}, {"a": "1"}),
    ("JSON", [1, 2], [2, 1]),
]


@pytest.mark.parametrize(("kind", "one", "other"), SAME)
def test_same_values_are_equal(kind, one, other):
    column = AnswerColumn("n", kind)
    assert comparable(one, column) == comparable(other, column)


@pytest.mark.parametrize(("kind", "one", "other"), OTHER)
def test_other_values_are_not(kind, one, other):
    column = AnswerColumn("n", kind)
    assert comparable(one, column) != comparable(other, column)


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("STRING", ["a", "b"], '["a", "b"]', True),
        ("STRING", ["a", "b"], ["b", "a"], False),
        ("STRING", [], None, True),
        ("STRING", ["a"], [], False),
        ("INT64", [1, 2], ["1", 2.0], True),
        ("FLOAT64", [0.5], [0.5, 0.5], False),
        ("STRING", ["a"], "a", True),
    ],
)
def test_lists_are_compared_by_value(kind, one, other, same):
    column = AnswerColumn("n", kind, repeated=True)
    assert (comparable(one, column) == comparable(other, column)) is same
