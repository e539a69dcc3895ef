from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import date

import pytest

from airflow_gemini_batch.costs.prices import PriceTable, read_prices
from airflow_gemini_batch.costs.rates import Lifecycle, Prices, Rate
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import Usage

HEADER = "model,input,output,as_of"
FULL_HEADER = (
    "model,input,output,cached_input,input_above_200k,output_above_200k,cached_input_above_200k,as_of"
)


def read(*lines: str) -> PriceTable:
    return read_prices("\n".join(lines), "my.csv")


def only_rate(*lines: str) -> Rate:
    [[rate]] = read(*lines).rates.values()
    return rate


def test_full_row_is_read() -> None:
    assert read(FULL_HEADER, "pro,1,6,0.1,2,9,0.2,2026-11-05").rates == {
        "pro": [Rate(Prices(1, 6, 0.1), Prices(2, 9, 0.2), "2026-11-05")]
    }


def test_required_columns_are_enough() -> None:
    assert only_rate(HEADER, "flash,1,5,2026-11") == Rate(Prices(1, 5, 1), Prices(1, 5, 1), "2026-11")


@pytest.mark.parametrize(
    ("row", "usual", "long"),
    [
        pytest.param("m,1,6,,,,,2026-11", Prices(1, 6, 1), Prices(1, 6, 1), id="one-price"),
        pytest.param("m,1,6,0.1,,,,2026-11", Prices(1, 6, 0.1), Prices(1, 6, 0.1), id="cached"),
        pytest.param("m,1,6,,2,9,,2026-11", Prices(1, 6, 1), Prices(2, 9, 2), id="tier"),
        # Not the usual cached price: an account that is too low misleads more than one that is too high.
        pytest.param("m,1,6,0.1,2,9,,2026-11", Prices(1, 6, 0.1), Prices(2, 9, 2), id="tier-and-cached"),
        pytest.param("m,1,6,0,,,,2026-11", Prices(1, 6, 0), Prices(1, 6, 0), id="cached-for-nothing"),
    ],
)
def test_empty_cell_takes_the_nearest_price_known(row: str, usual: Prices, long: Prices) -> None:
    assert only_rate(FULL_HEADER, row) == Rate(usual, long, "2026-11")


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["# mine", "", HEADER, "# new", "m,1,5,2026-11", ""], id="comments-and-empty-lines"),
        pytest.param(["as_of,output,input,model", "2026-11,5,1,m"], id="other-order"),
        pytest.param([" model , input,output,as_of", "m, 1 ,5 ,2026-11"], id="spaces"),
        pytest.param(['"model","input","output","as_of"', '"m","1","5","2026-11"'], id="quotes"),
        pytest.param([f"{HEADER}\r", "m,1,5,2026-11\r", ",,,\r"], id="from-a-spreadsheet"),
        pytest.param([HEADER, "publishers/google/models/m,1,5,2026-11"], id="resource-name"),
        pytest.param([HEADER, "m,1e0,5.0,2026-11"], id="other-numbers"),
    ],
)
def test_ways_to_write_a_row(lines: list[str]) -> None:
    assert read(*lines).rates == {"m": [Rate(Prices(1, 5, 1), Prices(1, 5, 1), "2026-11")]}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param([], "the column 'model' is missing", id="empty"),
        pytest.param(["m,1,5,2026-11"], "line 1: the column 'm' is unknown", id="no-header"),
        pytest.param(["model;input"], "line 1: the column 'model;input' is unknown", id="semicolons"),
        pytest.param(["model,input,ouput,as_of"], "line 1: the column 'ouput'", id="typo"),
        pytest.param(["model,input,output"], "line 1: the column 'as_of' is missing", id="no-date"),
        pytest.param([f"{HEADER},input"], "the column 'input' is unknown or repeated", id="column-twice"),
        pytest.param(
            [HEADER, "m,$1,5,2026-11"],
            "line 2, column input: expected US dollars per million tokens, such as 0.15, got '$1'",
            id="currency",
        ),
        pytest.param(
            [HEADER, "# why", "m,1,x,2026-11"],
            "line 3, column output: expected US dollars",
            id="after-a-comment",
        ),
        pytest.param(
            [HEADER, "m,,5,2026-11"],
            "line 2, column input: expected US dollars per million tokens, such as 0.15, got ''",
            id="no-input",
        ),
        pytest.param(
            [HEADER, "m,1,,2026-11"],
            "line 2, column output: expected US dollars per million tokens, such as 0.15, got ''",
            id="no-output",
        ),
        pytest.param(
            [HEADER, "m,-1,5,2026-11"],
            "column input: expected US dollars per million tokens, such as 0.15, got '-1'",
            id="negative",
        ),
        pytest.param(
            [HEADER, "m,nan,5,2026-11"],
            "column input: expected US dollars per million tokens, such as 0.15, got 'nan'",
            id="nan",
        ),
        pytest.param(
            [HEADER, "m,inf,5,2026-11"],
            "column input: expected US dollars per million tokens, such as 0.15, got 'inf'",
            id="infinite",
        ),
        pytest.param([HEADER, 'm,"0,15",5,2026-11'], "column input: expected US dollars", id="decimal-comma"),
        pytest.param(
            [FULL_HEADER, "m,1,5,free,,,,2026-11"],
            "line 2, column cached_input: expected US dollars",
            id="optional-cell",
        ),
        pytest.param(
            [HEADER, "m,1,5,today"],
            "column as_of: expected the date of the price, such as 2026-11, got 'today'",
            id="date",
        ),
        pytest.param(
            [HEADER, "m,1,5,"],
            "column as_of: expected the date of the price, such as 2026-11, got ''",
            id="no-date-cell",
        ),
        pytest.param([HEADER, ",1,5,2026-11"], "line 2, column model: the cell is empty", id="no-model"),
        pytest.param([HEADER, "m,1,5"], "line 2: expected 4 cells, got 3", id="too-few-cells"),
        pytest.param([HEADER, "m,0,15,5,2026-11"], "line 2: expected 4 cells, got 5", id="too-many-cells"),
        pytest.param(
            [HEADER, "m,1,5,2026-11", "m,2,6,2026-11"],
            "line 3, column model: 'm' has a row for the same valid_from already",
            id="twice",
        ),
        pytest.param(
            [f"{HEADER},valid_from", "m,1,5,2026-11,2026-12-01", "m,2,6,2026-11,2026-12-01"],
            "line 3, column model: 'm' has a row for the same valid_from already",
            id="day-twice",
        ),
        pytest.param(
            [f"{HEADER},valid_from", "m,1,5,2026-11,2026-12"],
            "line 2, column valid_from: expected a day, such as 2026-12-01, got '2026-12'",
            id="month",
        ),
        pytest.param(
            [f"{HEADER},retires", "m,1,5,2026-11,2027-02-30"],
            "line 2, column retires: expected a day, such as 2026-12-01, got '2027-02-30'",
            id="no-such-day",
        ),
        pytest.param(
            [f"{HEADER},outside_global", "m,1,5,2026-11,10%"],
            "line 2, column outside_global: expected a factor, such as 1.1, got '10%'",
            id="factor",
        ),
        pytest.param(
            [f"{HEADER},audio_input", "m,1,5,2026-11,free"],
            "line 2, column audio_input: expected US dollars",
            id="audio",
        ),
    ],
)
def test_malformed_file_is_refused_with_line_and_column(lines: list[str], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(message)) as caught:
        read(*lines)
    assert str(caught.value).startswith("the price file my.csv, line ")


def test_file_that_no_csv_reader_takes_is_refused_with_its_line() -> None:
    before = csv.field_size_limit(100)  # of the whole process, where other code may have raised it
    try:
        with pytest.raises(InvalidRequestError, match=r"my\.csv, line 2: field larger"):
            read(HEADER, "m" * 200)
    finally:
        csv.field_size_limit(before)


def test_rows_of_a_model_are_ordered_by_day() -> None:
    table = read(
        f"{HEADER},valid_from", "m,2,10,2026-11,2026-12-01", "m,1,5,2026-11,", "m,4,20,2026-11,2027-04-01"
    )
    assert [rate.usual.input for rate in table.rates["m"]] == [1, 2, 4]


def test_lifecycle_is_read_from_any_row_of_a_model() -> None:
    header = f"{HEADER},valid_from,retires,closed_to_new_projects"
    table = read(
        header, "m,1,5,2026-11,,2027-03-31,", "m,2,6,2026-11,2026-12-01,,2026-10-20", "n,1,5,2026-11,,,"
    )
    assert table.lifecycle("m-001") == Lifecycle(date(2027, 3, 31), date(2026, 10, 20))
    assert table.lifecycle("n") == table.lifecycle("unknown") == Lifecycle()


@pytest.mark.parametrize(("location", "price"), [("global", 1), ("us-central1", 1.1), ("eu", 1.1), ("", 1.1)])
def test_location_outside_global_may_cost_more(location: str, price: float) -> None:
    table = replace(read(f"{HEADER},outside_global", "m,1,5,2026-11,1.1"), location=location)
    rate = table.rate("m", date(2026, 11, 30))
    assert rate is not None
    assert rate.usual.input == pytest.approx(price)
    assert rate.usual.output == pytest.approx(5 * price)


TIERED = Rate(Prices(1, 6, 0.1), Prices(2, 9, 0.2), "2026-11")
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        pytest.param(Usage(), 0, id="nothing"),
        pytest.param(Usage(1, MILLION), 1, id="prompt"),
        pytest.param(Usage(1, 0, MILLION), 6, id="output"),
        pytest.param(Usage(1, 0, 0, MILLION), 6, id="thoughts"),
        pytest.param(Usage(1, MILLION, 0, 0, MILLION), 0.1, id="cached"),
        pytest.param(Usage(1, MILLION, 0, 0, MILLION // 2), 0.55, id="half-cached"),
        pytest.param(Usage(1, MILLION, 0, 0, 9 * MILLION), 0.1, id="more-cached-than-there-is"),
        pytest.param(
            Usage(1, MILLION, MILLION, MILLION, 0, MILLION, 2 * MILLION), 2 + 9 + 9, id="long-prompt"
        ),
        pytest.param(Usage(1, MILLION, 0, 0, MILLION, MILLION, 0, MILLION), 0.2, id="long-and-cached"),
        pytest.param(
            Usage(2, 3 * MILLION, 2 * MILLION, 0, 0, 2 * MILLION, MILLION), 1 + 4 + 6 + 9, id="long-and-short"
        ),
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, amount: float) -> None:
    assert TIERED.cost(usage) == pytest.approx(amount)
