from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of, dollars, read_prices
from airflow_gemini_batch.costs.rates import Lifecycle, Prices, Rate
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import Usage

MILLION = 1_000_000


def flat(price_in: float, price_out: float, as_of: str = "2026-11") -> Rate:
    prices = Prices(price_in, price_out, price_in)
    return Rate(prices, prices, as_of)


TODAY = date(2026, 11, 30)
TABLE = PriceTable(
    {
        "gemini-2.5-flash": [flat(1, 2)],
        "gemini-2.5-flash-lite": [flat(3, 4, "2026-09")],
        "gemini-embedding-001": [flat(5, 0)],
    }
)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("gemini-2.5-flash", "gemini-2.5-flash"),
        ("gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("gemini-2.5-flash@001", "gemini-2.5-flash"),
        ("gemini-2.5-flash@default", "gemini-2.5-flash"),
        ("gemini-2.5-flash-001@default", "gemini-2.5-flash"),
        ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("publishers/google/models/gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("projects/p/locations/global/publishers/google/models/gemini-2.5-flash@001", "gemini-2.5-flash"),
        ("gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("gemini-2.5-flash-lite-001", "gemini-2.5-flash-lite"),
        ("gemini-embedding-001", "gemini-embedding-001"),
    ],
)
def test_model_is_found_under_its_names(model: str, found: str) -> None:
    assert [TABLE.rate(model, TODAY)] == TABLE.rates[found]


@pytest.mark.parametrize(
    "model",
    [
        "",
        "gemini-2.5",
        "gemini-2.5-flash-image",
        "gemini-2.5-flash-preview-09-2025",
        "gemini-2.5-flash-lite-preview-09-2025",
        "gemini-2.5-flash-01",
        "gemini-2.5-flash-001\n",
        "gemini-2.5-flash-001-tuned",
        "gemini-embedding",
        "gemini-embedding-002",
        "projects/p/locations/us-central1/endpoints/001",
    ],
)
def test_near_miss_is_unknown(model: str) -> None:
    assert TABLE.rate(model, TODAY) is None


def test_version_may_have_a_rate_of_its_own() -> None:
    table = PriceTable({**TABLE.rates, "gemini-2.5-flash-002": [flat(9, 9)]})
    assert table.rate("publishers/google/models/gemini-2.5-flash-002", TODAY) == flat(9, 9)


def test_packaged_table_holds_batch_rates() -> None:
    rate = PriceTable.load().rate("publishers/google/models/gemini-2.5-flash", TODAY)
    assert rate == Rate(Prices(0.15, 1.25, 0.03, 0.5), Prices(0.15, 1.25, 0.03, 0.5), "2026-11")


def test_packaged_table_knows_the_tier_for_long_prompts() -> None:
    rate = PriceTable.load().rate("gemini-2.5-pro", TODAY)
    assert rate == Rate(Prices(0.625, 5, 0.125), Prices(1.25, 7.5, 0.25), "2026-11")


@pytest.mark.parametrize("model", ["text-embedding-005", "text-multilingual-embedding-002"])
def test_packaged_table_has_no_price_for_what_is_billed_by_the_character(model: str) -> None:
    assert PriceTable.load().rate(model, TODAY) is None


@pytest.mark.parametrize(
    ("model", "rate"),
    [(model, rate) for model, rates in PriceTable.load().rates.items() for rate in rates],
)
def test_packaged_rates_make_sense(model: str, rate: Rate) -> None:
    for prices in (rate.usual, rate.long):
        assert 0 < prices.cached_input <= prices.input < 10
        assert prices.output == 0 if "embedding" in model else prices.output > prices.input
    assert rate.long.input >= rate.usual.input
    assert rate.long.output >= rate.usual.output
    assert rate.outside_global in (1, 1.1)


LAST_DAY, DOUBLED, RETIRED = date(2026, 11, 30), date(2026, 12, 1), date(2027, 4, 1)


@pytest.mark.parametrize(
    ("model", "day", "prices"),
    [
        ("gemini-4-argon", LAST_DAY, (1, 5, 0.05)),
        ("gemini-4-argon", DOUBLED, (2, 10, 0.1)),
        ("gemini-4-argon", RETIRED, (2, 10, 0.1)),
        ("gemini-4-carbon", LAST_DAY, (1, 5, 0.05)),
        ("gemini-4-carbon", DOUBLED, (2, 10, 0.1)),
        ("gemini-4-neon", LAST_DAY, (1.5, 7.5, 0.075)),
        ("gemini-4-neon", DOUBLED, (1.5, 7.5, 0.075)),
        ("gemini-4-hydrogen", DOUBLED, (0.75, 3.75, 0.0375)),
        ("gemini-3.8-flash", RETIRED, (0.375, 1.875, 0.0375)),
        ("gemini-3.5-flash-lite", LAST_DAY, (0.15, 1.25, 0.015)),
    ],
)
def test_packaged_rate_is_that_of_the_day(model: str, day: date, prices: tuple[float, ...]) -> None:
    rate = PriceTable.load().rate(model, day)
    assert rate is not None
    assert (rate.usual.input, rate.usual.output, rate.usual.cached_input) == prices


def test_rate_that_is_not_valid_yet_is_unknown() -> None:
    table = read_prices("model,input,output,as_of,valid_from\nm,1,5,2026-11,2026-12-01\n", "mine.csv")
    assert table.rate("m", LAST_DAY) is None
    assert table.rate("m", DOUBLED) is not None


def test_packaged_table_is_read_once() -> None:
    assert PriceTable.load().rates is PriceTable.load(location="eu").rates


def test_own_rates_win_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    # A spreadsheet puts a byte order mark in front.
    path.write_text(
        "model,input,output,as_of\ngemini-2.5-flash,0.1,1,2027-01\n1234567890,0.2,2,2027-01\n", "utf-8-sig"
    )
    table = PriceTable.load(str(path))
    assert table.rate("gemini-2.5-flash-001", TODAY) == flat(0.1, 1, "2027-01")
    assert table.rate("projects/p/locations/us-central1/endpoints/1234567890", TODAY) == flat(
        0.2, 2, "2027-01"
    )
    assert table.rate("gemini-2.5-pro", TODAY) == PriceTable.load().rate("gemini-2.5-pro", TODAY)
    assert PriceTable.load().rate("gemini-2.5-flash", TODAY) != table.rate("gemini-2.5-flash", TODAY)


def test_own_dates_win_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rows = "gemini-2.5-flash,1,2,2027-01,2027-09-30\ngemini-2.5-pro,1,2,2027-01,\n"
    path.write_text(f"model,input,output,as_of,retires\n{rows}")
    table = PriceTable.load(str(path))
    assert table.lifecycle("gemini-2.5-flash") == Lifecycle(date(2027, 9, 30), date(2026, 10, 20))
    assert table.lifecycle("gemini-2.5-pro") == Lifecycle(date(2027, 3, 31), date(2026, 10, 20))


def test_bad_price_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("model,input,output,as_of\nm,free,1,2027-01\n")
    with pytest.raises(
        InvalidRequestError, match=r"mine\.csv, line 2, column input: expected US dollars .* got 'free'"
    ):
        PriceTable.load(str(path))


@pytest.mark.parametrize("content", [None, b"model,\xff"], ids=["absent", "not-utf-8"])
def test_unreadable_price_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=r"mine\.csv can't be read: "):
        PriceTable.load(str(path))


USED = Usage(rows=1, prompt_tokens=MILLION, output_tokens=MILLION)


def test_cost_is_the_sum_over_models_at_the_oldest_date() -> None:
    used = {"gemini-2.5-flash-001": USED, "gemini-2.5-flash-lite": USED}
    assert cost_of(used, TABLE, on=TODAY) == Cost(1 + 2 + 3 + 4, "2026-09")


def test_model_without_a_rate_does_not_stop_the_others() -> None:
    used = {"gemini-9": USED, "gemini-2.5-flash": USED, "": USED}
    assert cost_of(used, TABLE, on=TODAY) == Cost(3, "2026-11", ("gemini-9", ""))


def test_cost_is_unknown_when_no_model_has_a_rate() -> None:
    assert cost_of({"gemini-9": USED}, TABLE, on=TODAY) == Cost(None, "", ("gemini-9",))


def test_no_tokens_cost_nothing() -> None:
    assert cost_of({}, TABLE, on=TODAY) == Cost(0)


def test_small_amounts_are_not_rounded_away() -> None:
    table = PriceTable({"m": [flat(0.0375, 0.15)]})
    assert cost_of({"m": Usage(1, 1, 0)}, table, on=TODAY).amount == pytest.approx(3.75e-8)


def test_amount_is_free_of_float_noise() -> None:
    table = PriceTable({"a": [flat(0.1, 0)], "b": [flat(0.2, 0)]})
    assert cost_of({"a": USED, "b": USED}, table, on=TODAY).amount == 0.3


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (Cost(1, "2026-11"), Cost(2, "2026-09"), Cost(3, "2026-09")),
        (Cost(0), Cost(0), Cost(0)),
        (Cost(1, "2026-11"), Cost(None, unpriced=("x",)), Cost(1, "2026-11", ("x",))),
        (Cost(None, unpriced=("x",)), Cost(None, unpriced=("x", "y")), Cost(None, unpriced=("x", "y"))),
        (Cost(0), Cost(None, unpriced=("x",)), Cost(None, unpriced=("x",))),
        (Cost(0.1, "2026-11"), Cost(0.2, "2026-11"), Cost(0.3, "2026-11")),
    ],
)
def test_costs_of_jobs_are_added(first: Cost, second: Cost, both: Cost) -> None:
    assert first + second == second + first == both


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (Cost(0.01234, "2026-11"), "$0.0123 at batch rates of 2026-11"),
        (Cost(12.3, "2026-11", ("x", "y")), "$12.30 at batch rates of 2026-11 (no rate for x, y)"),
        (Cost(3, "2026-11", ("",)), "$3.00 at batch rates of 2026-11 (no rate for a model without a name)"),
        (Cost(None, "", ("x",)), "cost unknown (no rate for x)"),
        (Cost(0), "$0.00"),
    ],
)
def test_cost_reads_well(cost: Cost, text: str) -> None:
    assert str(cost) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "$0.00"),
        (0.00001, "$0.00001"),
        (0.0000123, "$0.00001"),
        (0.00000096, "$0.0000010"),
        (0.0001, "$0.0001"),
        (0.5, "$0.5000"),
        (1, "$1.00"),
        (1234.567, "$1,234.57"),
    ],
)
def test_dollars_show_what_matters(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_cost_has_the_documented_shape() -> None:
    assert Cost(0.5, "2026-11", ("x",)).to_json() == {
        "amount": 0.5,
        "currency": "USD",
        "rates_as_of": "2026-11",
        "unpriced": ["x"],
    }
