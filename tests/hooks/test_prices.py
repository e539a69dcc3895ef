"""The price table that Airflow's configuration names, and the ceiling that a template renders."""

from __future__ import annotations

from datetime import date

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.prices import ceiling_of, price_table

TODAY = date(2026, 11, 30)


def test_package_s_own_prices_hold_where_nothing_is_configured():
    assert price_table().rate("gemini-3.8-flash", TODAY) is not None
    assert price_table().rate("gemini-99", TODAY) is None


def test_configured_file_is_laid_over_them(tmp_path, monkeypatch):
    file = tmp_path / "prices.csv"
    file.write_text("model,input,output,as_of\ngemini-99,7,70,2026-11\n")
    monkeypatch.setenv("AIRFLOW__GEMINI_BATCH__PRICE_TABLE", str(file))
    assert price_table().rate("gemini-99", TODAY).usual.output == 70
    assert price_table().rate("gemini-3.8-flash", TODAY) is not None


@pytest.mark.parametrize(("location", "price"), [("global", 0.375), ("us-central1", 0.4125), ("", 0.4125)])
def test_prices_are_those_of_the_location(location, price):
    assert price_table(location).rate("gemini-3.8-flash", TODAY).usual.input == pytest.approx(price)


def test_configured_file_that_is_missing_is_named(monkeypatch):
    monkeypatch.setenv("AIRFLOW__GEMINI_BATCH__PRICE_TABLE", "no/prices.csv")
    with pytest.raises(InvalidRequestError, match=r"the price file no/prices\.csv can't be read"):
        price_table()


@pytest.mark.parametrize(
    ("given", "ceiling"),
    [(None, None), ("", None), ("None", None), (50, 50.0), (0, 0.0), ("2.5", 2.5), (" 7 ", 7.0)],
)
def test_ceiling_is_read_as_a_template_renders_it(given, ceiling):
    assert ceiling_of(given) == ceiling


@pytest.mark.parametrize("given", ["$50", "50 USD", "fifty", [50], "nan"])
def test_ceiling_that_is_no_number_is_named(given):
    with pytest.raises(InvalidRequestError, match="max_cost_usd: expected a number of US dollars"):
        ceiling_of(given)
