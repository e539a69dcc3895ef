from __future__ import annotations

import json
from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest

from airflow_gemini_batch.costs.estimate import Estimate, OutputLimits, check_ceiling, estimate
from airflow_gemini_batch.costs.prices import Cost, PriceTable
from airflow_gemini_batch.costs.rates import Prices, Rate
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import Usage

TODAY = date(2026, 11, 30)
TABLE = PriceTable(
    {model: [Rate(Prices(1, 6, 1), Prices(2, 9, 2), "2026-11")] for model in ("pro", "gemini-2.0-flash")}
)


def expected(model: str = "pro", max_output_tokens: int | None = None, **sizes: Any) -> Estimate:
    limits = OutputLimits(max_output_tokens)
    asked = {"on": TODAY, "rows": 1000, "prompt_characters": 400_000, "limits": limits, **sizes}
    return estimate(model, TABLE, **asked)


def test_characters_become_tokens_and_money() -> None:
    found = expected(max_output_tokens=50)
    assert (found.rows, found.prompt_tokens, found.output_tokens) == (1000, 100_000, 50_000)
    assert found.cost == found.cost_low == Cost(0.1 + 0.3, "2026-11")


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_tokens_are_rounded_up(characters: int, tokens: int) -> None:
    assert expected(rows=1, prompt_characters=characters).prompt_tokens == tokens


def test_each_file_counts_as_an_image() -> None:
    assert expected(media=2).prompt_tokens == 100_000 + 2 * 258


def test_sample_is_scaled_up_to_all_rows() -> None:
    found = expected(rows=20_000, prompt_characters=401, media=1, sampled_rows=300)
    assert found.prompt_tokens == 6684 + 67 * 258
    assert "estimated from 300 of 20,000 rows" in found.basis


def test_sample_of_all_rows_is_no_sample() -> None:
    assert expected(sampled_rows=1000) == expected()
    assert "estimated from all rows" in expected().basis


@pytest.mark.parametrize("sampled_rows", [0, -1, 1001])
def test_sample_of_no_rows_or_too_many_is_refused(sampled_rows: int) -> None:
    with pytest.raises(ValueError, match=f"sampled_rows: expected 1 to 1000, .* got {sampled_rows}"):
        expected(sampled_rows=sampled_rows)


@pytest.mark.parametrize("sampled_rows", [None, 0])
def test_no_rows_cost_nothing(sampled_rows: int | None) -> None:
    found = expected(rows=0, prompt_characters=0, sampled_rows=sampled_rows)
    assert (found.prompt_tokens, found.output_tokens, found.cost.amount) == (0, 0, 0)


@pytest.mark.parametrize(
    ("model", "limits", "low", "high", "basis"),
    [
        pytest.param(
            "pro",
            OutputLimits(),
            300,
            5000,
            "each output counts as 300 to 5,000 tokens with thoughts, since nothing limits it: set maxOutputTokens",
            id="nothing-known",
        ),
        pytest.param(
            "pro",
            OutputLimits(thinks=False),
            300,
            1000,
            "each output counts as 300 to 1,000 tokens, since nothing limits it: set maxOutputTokens",
            id="told-not-to-think",
        ),
        pytest.param(
            "publishers/google/models/gemini-2.0-flash",
            OutputLimits(),
            300,
            1000,
            "each output counts as 300 to 1,000 tokens, since nothing limits it: set maxOutputTokens",
            id="can't-think",
        ),
        pytest.param(
            "pro",
            OutputLimits(2048),
            300,
            2048,
            "each output counts as 300 to 2,048 tokens, up to maxOutputTokens",
            id="limit",
        ),
        pytest.param(
            "pro",
            OutputLimits(50),
            50,
            50,
            "each output counts as 50 tokens, up to maxOutputTokens",
            id="small-limit",
        ),
    ],
)
def test_without_earlier_answers_an_interval_is_told(
    model: str, limits: OutputLimits, low: int, high: int, basis: str
) -> None:
    found = expected(model, limits=limits)
    assert (found.output_tokens_low, found.output_tokens) == (1000 * low, 1000 * high)
    assert found.cost_low == Cost(pytest.approx(0.1 + low * 0.006), "2026-11")
    assert found.cost == Cost(pytest.approx(0.1 + high * 0.006), "2026-11")
    assert found.basis.endswith(basis)


def test_tools_are_said_to_be_left_out() -> None:
    told = "what tools read is not known, and not included"
    assert expected(limits=OutputLimits(tools=True)).basis.endswith(told)
    assert told not in expected(limits=OutputLimits(tools=True), earlier=Usage(1, 1, 1)).basis


def test_earlier_answers_make_a_point() -> None:
    earlier = Usage(4, 999, output_tokens=40, thoughts_tokens=361, tool_tokens=18)
    found = expected(max_output_tokens=5000, earlier=earlier)
    assert found.output_tokens_low == found.output_tokens == 100_250
    assert found.prompt_tokens == 100_000 + 4_500
    assert found.cost == found.cost_low
    assert found.basis.endswith("each answer takes what 4 answers in the target took on average")


def test_limit_that_was_lowered_holds_for_what_earlier_answers_took() -> None:
    assert expected(max_output_tokens=50, earlier=Usage(1, 9, 400)).output_tokens == 50_000


def test_no_earlier_answers_are_nothing_known() -> None:
    assert expected(earlier=Usage()) == expected()


@pytest.mark.parametrize(
    ("day", "price"), [(date(2026, 11, 30), 1), (date(2026, 12, 1), 2), (date(2027, 4, 1), 2)]
)
def test_estimate_has_the_rates_of_its_day(day: date, price: float) -> None:
    found = estimate(
        "gemini-4-argon",
        PriceTable.load(),
        on=day,
        rows=1000,
        prompt_characters=4_000_000,
        limits=OutputLimits(100),
    )
    assert found.cost.amount == pytest.approx(price * (1 + 0.1 * 5))


def test_embeddings_have_no_output() -> None:
    found = expected(embeddings=True)
    assert (found.output_tokens, found.cost.amount) == (0, 0.1)
    assert found.basis == "estimated from all rows, 4 characters a token"


@pytest.mark.parametrize(("characters", "price"), [(800_000, 1), (800_004, 2)])
def test_long_prompts_are_estimated_at_their_rate(characters: int, price: float) -> None:
    found = expected(rows=1, prompt_characters=characters, embeddings=True)
    assert found.cost.amount == pytest.approx(price * characters / 4 / 1e6)


def test_long_prompts_make_output_dearer_as_well() -> None:
    found = expected(rows=1, prompt_characters=4_000_000, max_output_tokens=100_000)
    assert found.cost.amount == pytest.approx(2 + 0.9)


def test_unknown_model_gives_tokens_without_money() -> None:
    found = expected("gemini-9")
    assert found.prompt_tokens == 100_000
    assert found.cost == Cost(None, unpriced=("gemini-9",))


def test_estimate_reads_well() -> None:
    assert str(expected(rows=20_000, sampled_rows=1000, max_output_tokens=50)) == (
        "20,000 rows for pro, about 2,000,000 prompt and 1,000,000 output tokens: $8.00 at batch rates of 2026-11; "
        "estimated from 1,000 of 20,000 rows, 4 characters a token; "
        "each output counts as 50 tokens, up to maxOutputTokens"
    )


def test_interval_reads_well() -> None:
    assert str(expected()).startswith(
        "1,000 rows for pro, about 100,000 prompt and 300,000 to 5,000,000 output tokens: "
        "$1.90 to $30.10 at batch rates of 2026-11; "
    )


def test_media_are_said_to_be_rough() -> None:
    assert "each file counts as 258 tokens" in str(expected(media=1))
    assert "each file" not in str(expected())


def test_estimate_has_the_documented_shape() -> None:
    found = expected(embeddings=True)
    cost = {"amount": 0.1, "currency": "USD", "rates_as_of": "2026-11", "unpriced": []}
    assert json.loads(json.dumps(found.to_json())) == {
        "model": "pro",
        "rows": 1000,
        "prompt_tokens": 100_000,
        "output_tokens_low": 0,
        "output_tokens": 0,
        "cost_low": cost,
        "cost": cost,
        "basis": found.basis,
    }


@pytest.mark.parametrize("ceiling", [None, 0.1, 5, float("inf")])
def test_what_is_within_the_ceiling_may_run(ceiling: float | None) -> None:
    assert check_ceiling(expected(embeddings=True), ceiling) is None


def test_what_is_above_the_ceiling_is_stopped_with_reason_and_hint() -> None:
    found = expected(rows=20_000, sampled_rows=1000, max_output_tokens=50)
    with pytest.raises(InvalidRequestError) as caught:
        check_ceiling(found, 5)
    assert str(caught.value) == (
        "20,000 rows for pro would cost about $8.00 at batch rates of 2026-11, more than max_cost_usd=$5.00; "
        "nothing was submitted. Send fewer rows, lower maxOutputTokens, or raise max_cost_usd. "
        f"The cost is {found.basis}."
    )


def test_ceiling_of_nothing_stops_what_costs() -> None:
    with pytest.raises(InvalidRequestError, match=r"more than max_cost_usd=\$0\.00"):
        check_ceiling(expected(), 0)


@pytest.mark.parametrize(("ceiling", "within"), [(30.10, True), (30.09, False), (1.90, False)])
def test_ceiling_is_for_the_upper_end(ceiling: float, within: bool) -> None:
    refused = (
        nullcontext() if within else pytest.raises(InvalidRequestError, match=r"about \$1\.90 to \$30\.10 at")
    )
    with refused:
        assert check_ceiling(expected(), ceiling) is None


def test_ceiling_without_a_price_refuses_and_tells_the_ways_out() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_ceiling(expected("gemini-9"), 5)
    assert str(caught.value) == (
        "max_cost_usd=$5.00 can't be checked: there is no batch rate for gemini-9; nothing was submitted. Add its rate "
        "to a price file of your own ([gemini_batch] price_table in Airflow's configuration, --prices on the command "
        "line), or set unpriced='allow' to run without the check"
    )


def test_ceiling_without_a_price_may_be_allowed() -> None:
    warning = check_ceiling(expected("gemini-9"), 5, "allow")
    assert warning == "max_cost_usd=$5.00 can't be checked: there is no batch rate for gemini-9"


def test_allowing_no_price_allows_no_higher_cost() -> None:
    with pytest.raises(InvalidRequestError, match="more than max_cost_usd"):
        check_ceiling(expected(), 0, "allow")


@pytest.mark.parametrize("unpriced", ["yes", "", None, True])
def test_unpriced_is_one_of_two_words(unpriced: Any) -> None:
    with pytest.raises(InvalidRequestError, match="unpriced: expected 'refuse' or 'allow', got"):
        check_ceiling(expected(), 5, unpriced)


def test_no_ceiling_needs_no_price() -> None:
    assert check_ceiling(expected("gemini-9"), None) is None


@pytest.mark.parametrize("ceiling", [-1, float("nan")])
def test_ceiling_has_to_be_an_amount(ceiling: float) -> None:
    with pytest.raises(InvalidRequestError, match="max_cost_usd: expected US dollars, 0 or more, got"):
        check_ceiling(expected("gemini-9"), ceiling)
