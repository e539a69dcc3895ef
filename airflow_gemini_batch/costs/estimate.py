"""The estimated tokens and cost of a batch before it is submitted, and the check against ``max_cost_usd``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of, dollars
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import LONG_PROMPT, Usage

CHARACTERS_PER_TOKEN = 4
"""For European languages. Chinese, Japanese and Korean text takes up to a token for each character."""

TOKENS_PER_MEDIUM = 258
"""For an image, a page of a document or a second of video."""

ASSUMED_OUTPUT_TOKENS = 300
"""Tokens of an answer when requests set no maxOutputTokens."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The tokens and the cost that a batch is expected to take.

    As JSON: ``model``, ``rows``, ``prompt_tokens``, ``output_tokens``, ``cost`` (see :class:`.Cost`), ``basis``.

    :param basis: what was counted and what was assumed, as text.
    """

    model: str
    rows: int
    prompt_tokens: int
    output_tokens: int
    cost: Cost
    basis: str

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows for {self.model}, about {self.prompt_tokens:,} prompt and "
            f"{self.output_tokens:,} output tokens: {self.cost}; {self.basis}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON types."""
        return {**asdict(self), "cost": self.cost.to_json()}


def estimate(
    model: str,
    table: PriceTable,
    *,
    rows: int,
    prompt_characters: int,
    media: int = 0,
    max_output_tokens: int | None = None,
    sampled_rows: int | None = None,
    embeddings: bool = False,
) -> Estimate:
    """Estimate a batch from the size of its prompts.

    :param rows: all rows of the batch.
    :param prompt_characters: characters of the sampled prompts, with their system instructions.
    :param media: files that the sampled rows refer to.
    :param max_output_tokens: ``maxOutputTokens`` of the requests, if they all have one.
    :param sampled_rows: size of the sample; by default all rows.
    :param embeddings: the answers are vectors, which take no output tokens.
    """
    seen = rows if sampled_rows is None else sampled_rows
    if rows and not 0 < seen <= rows:
        raise ValueError(f"sampled_rows: expected 1 to {rows}, the number of rows, got {seen}")
    prompt_tokens = 0
    if rows:
        prompt_tokens = _rounded_up(prompt_characters * rows, seen * CHARACTERS_PER_TOKEN)
        prompt_tokens += _rounded_up(media * rows, seen) * TOKENS_PER_MEDIUM
    output_tokens = 0 if embeddings else rows * (max_output_tokens or ASSUMED_OUTPUT_TOKENS)
    # The mean length decides the price tier: the lengths of single prompts are not known here.
    long = prompt_tokens > rows * LONG_PROMPT
    usage = Usage(
        rows=rows,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        long_prompt_tokens=prompt_tokens if long else 0,
        long_output_tokens=output_tokens if long else 0,
    )
    sample = f"{seen:,} of {rows:,} rows" if seen < rows else "all rows"
    basis = f"estimated from {sample}, {CHARACTERS_PER_TOKEN} characters a token"
    if media:
        basis += f"; each file counts as {TOKENS_PER_MEDIUM} tokens, as an image does: others take more"
    if not embeddings and max_output_tokens:
        basis += f"; each output counts as maxOutputTokens ({max_output_tokens:,}), the upper bound"
    elif not embeddings:
        basis += f"; each output counts as {ASSUMED_OUTPUT_TOKENS} tokens"
    if not embeddings:
        basis += "; thoughts are not included"
    return Estimate(model, rows, prompt_tokens, output_tokens, cost_of({model: usage}, table), basis)


def check_ceiling(expected: Estimate, max_cost_usd: float | None) -> str | None:
    """Compare an estimate with the highest cost that is allowed.

    Returns a warning when the model has no price: a new model must not stop a run. Otherwise returns ``None``.

    Raises :class:`InvalidRequestError` when the estimate is higher.
    """
    if max_cost_usd is None:
        return None
    if not max_cost_usd >= 0:
        raise InvalidRequestError(f"max_cost_usd: expected US dollars, 0 or more, got {max_cost_usd!r}")
    amount = expected.cost.amount
    if amount is None:
        return (
            f"max_cost_usd={dollars(max_cost_usd)} was not checked: the price table has no rate for {expected.model}. "
            "Add one in a price file of your own."
        )
    if amount > max_cost_usd:
        raise InvalidRequestError(
            f"{expected.rows:,} rows for {expected.model} would cost about {dollars(amount)}, more than "
            f"max_cost_usd={dollars(max_cost_usd)}; nothing was submitted. Send fewer rows, lower maxOutputTokens, "
            f"or raise max_cost_usd. The cost is {expected.basis}; batch rates of {expected.cost.rates_as_of}."
        )
    return None


def _rounded_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
