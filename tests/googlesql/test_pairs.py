from __future__ import annotations

from itertools import combinations

from tests.googlesql.pairs import everything, pairwise

DIMENSIONS = {"a": [1, 2, 3], "b": "xy", "c": [True, False], "d": range(4)}


def _pairs(rows):
    return {pair for row in rows for pair in combinations(row.items(), 2)}


def test_each_pair_occurs_in_few_combinations():
    rows = list(pairwise(DIMENSIONS))
    assert _pairs(rows) == _pairs(everything(DIMENSIONS))
    assert len(rows) < 20 < len(list(everything(DIMENSIONS))) == 48
