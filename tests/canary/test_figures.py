"""Shares and their intervals, means, percentiles, and how they are written."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.canary.figures import NOTHING, Share, mean, percent, quantile


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3; the last one by hand.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_interval_is_wilson_s(count, of, low, high):
    assert Share(count, of).interval == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_share_of_no_rows_is_not_known():
    assert (NOTHING.value, str(NOTHING), NOTHING.interval) == (None, "unknown", (0.0, 1.0))
    assert NOTHING.to_json() == {"count": 0, "of": 0, "share": None, "low": None, "high": None}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0%"),
        (1, "100.0%"),
        (0.0001, "<0.1%"),
        (0.0005, "0.1%"),
        (0.9996, ">99.9%"),
        (0.9994, "99.9%"),
        (0.123, "12.3%"),
    ],
)
def test_only_all_rows_are_100_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("values", "part", "value"),
    [([1], 0.95, 1), ([1, 2, 3], 0.5, 2), ([4, 1, 2, 3], 0.5, 2.5), (range(101), 0.95, 95)],
)
def test_quantile_is_between_values_in_proportion(values, part, value):
    assert quantile(list(values), part) == pytest.approx(value)


def test_mean_has_an_interval_from_two_values_on():
    assert mean([]) is None
    alone, same, some = mean([3.0]), mean([2.0, 2.0]), mean([1.0, 2.0, 3.0])
    assert alone
    assert (alone.value, alone.low, alone.high) == (3.0, None, None)
    assert same
    assert (same.low, same.high) == (2.0, 2.0)
    assert some
    assert (some.low, some.high) == (
        pytest.approx(2 - 1.959964 / 3**0.5),
        pytest.approx(2 + 1.959964 / 3**0.5),
    )
