from __future__ import annotations

import random

import pytest

from airflow_gemini_batch.testing.vertex_ai.rows.order import repeated, shuffled, thinned


@pytest.mark.parametrize("count", [2, 3, 10, 2500])
@pytest.mark.parametrize("seed", range(5))
def test_never_keeps_the_order(count: int, seed: int) -> None:
    rows = list(range(count))
    found = list(shuffled(rows, random.Random(seed)))
    assert sorted(found) == rows
    assert found != rows


@pytest.mark.parametrize("count", [0, 1])
def test_has_nothing_to_shuffle(count: int) -> None:
    assert list(shuffled(range(count), random.Random(0))) == list(range(count))


def test_repeats_the_first_row_and_a_share_of_the_others() -> None:
    found = list(repeated(range(1000), 0.2, random.Random(0)))
    assert found[:2] == [0, 0]
    assert sorted(set(found)) == list(range(1000))
    assert 150 < len(found) - 1000 < 250


def test_leaves_out_the_first_row_and_a_share_of_the_others() -> None:
    found = list(thinned(range(1000), 0.2, random.Random(0)))
    assert 0 not in found
    assert 750 < len(found) < 850
