"""What the canary has taken, and what the rest will take."""

from __future__ import annotations

import random
from datetime import date
from typing import Any

import pytest

from airflow_gemini_batch.canary.cost import roll_out_cost, tokens_of_a_row
from airflow_gemini_batch.costs.prices import PriceTable, read_prices
from tests.canary.answers import measured

DAY = date(2026, 11, 27)
# 1 US dollar for 1,000 tokens that are read, 2 for 1,000 that are written; long prompts are twice as dear.
PRICES: PriceTable = read_prices(
    "model,input,output,as_of,input_above_200k,output_above_200k\nm,1000,2000,2026-11,2000,4000\n",
    "prices.csv",
)


def row(prompt: int, output: int = 0, thoughts: int = 0, **more: Any) -> dict[str, Any]:
    return {**measured(prompt, output, thoughts, "m"), **more}


def test_rest_takes_what_the_canary_took():
    cost = roll_out_cost([row(1000, 500, 500)] * 10, 100, PRICES, DAY)
    assert (cost.canary, cost.low, cost.expected, cost.high) == tuple(map(pytest.approx, (30, 300, 300, 300)))
    assert cost.whole == pytest.approx(330)
    assert (cost.rates_as_of, cost.unknown) == ("2026-11", "")


def test_rows_with_long_prompts_cost_more():
    cost = roll_out_cost([row(300_000, 1000)] * 2, 1, PRICES, DAY)
    assert cost.expected == pytest.approx(604)


def test_interval_holds_the_cost_of_all_rows_in_most_samples():
    rows = [row(random.Random(1).randrange(100) + n % 400, n * n % 700) for n in range(1000)]
    really = roll_out_cost(rows, 1, PRICES, DAY).canary
    outside = 0
    for seed in range(100):
        cost = roll_out_cost(random.Random(seed).sample(rows, 100), 1000, PRICES, DAY)
        assert cost.low is not None
        assert cost.high is not None
        outside += not cost.low <= really <= cost.high
    assert outside <= 0.1 * 100


@pytest.mark.parametrize(
    ("rows", "rest", "reason"),
    [
        ([row(1), row(2, batch_model="other")], 10, "there is no batch rate for other"),
        ([row(1), row(2, batch_model=None)], 10, "there is no batch rate for a model without a name"),
        ([row(1), row(2, batch_prompt_tokens=None)], 10, "the answers do not tell how many tokens they took"),
        ([], 10, "the answers do not tell how many tokens they took"),
        ([row(1), row(2)], None, "it is not known how many rows are still to be asked"),
        ([row(1)], 10, "a single answer does not tell what others take"),
    ],
)
def test_what_is_not_known_has_a_reason(rows, rest, reason):
    cost = roll_out_cost(rows, rest, PRICES, DAY)
    assert (cost.unknown, cost.whole, cost.high) == (reason, None, None)


def test_tokens_of_a_row_are_a_mean_by_kind():
    assert tokens_of_a_row([row(10, 4, 2), row(20, 4)]) == {"prompt": 15, "output": 4, "thoughts": 1}
    assert tokens_of_a_row([{"batch_prompt_tokens": None}]) == {}
    assert tokens_of_a_row([]) == {}
