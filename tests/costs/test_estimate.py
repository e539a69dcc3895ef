from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.costs.estimate import Estimate, check_ceiling, estimate
from airflow_gemini_batch.costs.prices import Cost, Prices, PriceTable, Rate
from airflow_gemini_batch.exceptions import InvalidRequestError

TABLE = PriceTable({"pro": Rate(Prices(1, 6, 1), Prices(2, 9, 2), "2026-11")})


def expected(model: str = "pro", **sizes: Any) -> Estimate:
    return estimate(model, TABLE, **{"rows": 1000, "prompt_characters": 400_000, **sizes})


def test_characters_become_tokens_and_money() -> None:
    found = expected(max_output_tokens=50)
    assert (found.rows, found.prompt_tokens, found.output_tokens) == (1000, 100_000, 50_000)
    assert found.cost == Cost(0.1 + 0.3, "2026-11")


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


def test_output_without_a_limit_is_assumed_and_said() -> None:
    found = expected()
    assert found.output_tokens == 300_000
    assert "each output counts as 300 tokens; thoughts are not included" in found.basis


def test_output_limit_is_an_upper_bound_and_said() -> None:
    found = expected(max_output_tokens=2048)
    assert found.output_tokens == 2_048_000
    assert (
        "each output counts as maxOutputTokens (2,048), the upper bound; thoughts are not included"
        in found.basis
    )


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
        "each output counts as maxOutputTokens (50), the upper bound; thoughts are not included"
    )


def test_media_are_said_to_be_rough() -> None:
    assert "each file counts as 258 tokens" in str(expected(media=1))
    assert "each file" not in str(expected())


def test_estimate_has_the_documented_shape() -> None:
    found = expected(embeddings=True)
    assert json.loads(json.dumps(found.to_json())) == {
        "model": "pro",
        "rows": 1000,
        "prompt_tokens": 100_000,
        "output_tokens": 0,
        "cost": {"amount": 0.1, "currency": "USD", "rates_as_of": "2026-11", "unpriced": []},
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
        "20,000 rows for pro would cost about $8.00, more than max_cost_usd=$5.00; nothing was submitted. "
        "Send fewer rows, lower maxOutputTokens, or raise max_cost_usd. "
        f"The cost is {found.basis}; batch rates of 2026-11."
    )


def test_ceiling_of_nothing_stops_what_costs() -> None:
    with pytest.raises(InvalidRequestError, match=r"more than max_cost_usd=\$0\.00"):
        check_ceiling(expected(), 0)


def test_ceiling_without_a_price_is_a_warning() -> None:
    warning = check_ceiling(expected("gemini-9"), 5)
    assert warning is not None
    assert warning.startswith("max_cost_usd=$5.00 was not checked: the price table has no rate for gemini-9.")


def test_no_ceiling_needs_no_price() -> None:
    assert check_ceiling(expected("gemini-9"), None) is None


@pytest.mark.parametrize("ceiling", [-1, float("nan")])
def test_ceiling_has_to_be_an_amount(ceiling: float) -> None:
    with pytest.raises(InvalidRequestError, match="max_cost_usd: expected US dollars, 0 or more, got"):
        check_ceiling(expected("gemini-9"), ceiling)
