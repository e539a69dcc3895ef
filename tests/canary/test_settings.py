"""Canary: its values are checked when the DAG file is read."""

from __future__ import annotations

import math
from typing import Any

import pytest

import airflow_gemini_batch
from airflow_gemini_batch.canary.settings import Canary, canary_target_of
from airflow_gemini_batch.exceptions import InvalidRequestError


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rows": 0}, "rows: expected a number of rows, 1 to 10,000, got 0"),
        ({"rows": True}, "rows: expected"),
        ({"rows": 2.5}, "rows: expected"),
        ({"rows": 10_001}, "rows: expected"),
        ({"stratify_by": " "}, "stratify_by: expected the name of a column"),
        ({"stratify_by": ["a"]}, "stratify_by: expected"),
        ({"golden": ""}, "golden: source is empty"),
        ({"golden": "bq://my-project.books"}, "golden: source bq://my-project.books is a dataset"),
        ({"golden": "golden.txt"}, "golden: 'golden.txt': the kind of file is not known"),
        ({"golden": "SELECT * FROM t"}, "golden: expected a bq:// table or one file"),
        ({"golden": ["a.csv", "b.csv"]}, "golden: expected a bq:// table or one file"),
        ({"min_agreement": 95}, "min_agreement: expected a share, 0 to 1, got 95"),
        ({"min_agreement": "0.9"}, "min_agreement: expected a share"),
        ({"min_golden_accuracy": math.nan, "golden": "g.csv"}, "min_golden_accuracy: expected a share"),
        ({"min_golden_accuracy": 0.9}, "min_golden_accuracy needs golden rows"),
        ({"max_invalid": -0.1}, "max_invalid: expected a share"),
        ({"max_cost_usd": math.inf}, "max_cost_usd: expected US dollars, 0 or more"),
        ({"max_cost_usd": -1}, "max_cost_usd: expected US dollars"),
        ({"approve": "nobody"}, "approve: expected 'thresholds' or 'person', got 'nobody'"),
    ],
)
def test_wrong_value_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match="canary: ") as raised:
        Canary(**values)
    assert words in str(raised.value)


def test_all_wrong_values_are_named_at_once():
    with pytest.raises(InvalidRequestError) as raised:
        Canary(rows=0, min_agreement=2, approve="x")
    assert [line.split(":")[1] for line in str(raised.value).splitlines()] == [
        " rows",
        " min_agreement",
        " approve",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"golden": "bq://my-project.books.golden", "min_golden_accuracy": 1},
        {"golden": "gs://shop/golden.csv.gz", "min_golden_accuracy": 0},
        {"golden": "{{ var.value.golden }}"},
        {"min_agreement": 1, "max_invalid": None, "max_cost_usd": 0, "approve": "person"},
    ],
)
def test_good_values_are_taken(values):
    assert Canary(**values)


@pytest.mark.parametrize(
    ("target", "canary"),
    [
        ("bq://p.d.books", "bq://p.d.books__canary"),
        ("gs://b/x.y/books.parquet", "gs://b/x.y/books__canary.parquet"),
        ("books.jsonl", "books__canary.jsonl"),
    ],
)
def test_canary_lands_beside_the_target(target, canary):
    assert canary_target_of(target) == canary


def test_name_is_public():
    assert airflow_gemini_batch.Canary is Canary
