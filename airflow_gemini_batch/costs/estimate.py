"""What a batch will cost, before it is submitted: a rough figure, and how it came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of, dollars
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import LONG_PROMPT, Usage

CHARACTERS_PER_TOKEN = 4
"""In European languages; Chinese, Japanese and Korean need up to a token for each character."""

TOKENS_PER_MEDIUM = 258
"""Of an image, a page of a document or a second of video."""

ASSUMED_OUTPUT_TOKENS = 300
"""Tokens of an answer whose length nothing limits."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens and money that a batch is expected to take.

    As JSON: ``model``, ``rows``, ``prompt_tokens``, ``output_tokens``, ``cost`` (see :class:`.Cost`), ``basis``.

    :param basis: what was counted and what was assumed, for people.
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
        return {
            "model": self.model,
            "rows": self.rows,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost.to_json(),
            "basis": self.basis,
        }


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
    :param prompt_characters: characters of the prompts, system instructions among them, of the rows looked at.
    :param media: files that those rows refer to.
    :param max_output_tokens: ``maxOutputTokens`` of the requests, when they all have one.
    :param sampled_rows: how many rows were looked at, and from which the rest is inferred; ``None`` for all.
    :param embeddings: whether vectors are made, which take no output tokens.
    """
    seen = rows if sampled_rows is None else sampled_rows
    if rows and not 0 < seen <= rows:
        raise ValueError(f"sampled_rows is {seen}, it must be between 1 and the {rows} rows")
    prompt_tokens = 0
    if rows:
        prompt_tokens = _rounded_up(prompt_characters * rows, seen * CHARACTERS_PER_TOKEN)
        prompt_tokens += _rounded_up(media * rows, seen) * TOKENS_PER_MEDIUM
    output_tokens = 0 if embeddings else rows * (max_output_tokens or ASSUMED_OUTPUT_TOKENS)
    # The mean decides the tier: how the lengths spread over the rows is not known here.
    long = prompt_tokens > rows * LONG_PROMPT
    usage = Usage(
        rows=rows,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        long_prompt_tokens=prompt_tokens if long else 0,
        long_output_tokens=output_tokens if long else 0,
    )
    basis = [f"estimated from {_looked_at(seen, rows)}, {CHARACTERS_PER_TOKEN} characters a token"]
    if media:
        basis.append(f"each file as {TOKENS_PER_MEDIUM} tokens, which is an image: others take more")
    if not embeddings:
        basis.append(_output_basis(max_output_tokens))
    return Estimate(
        model, rows, prompt_tokens, output_tokens, cost_of({model: usage}, table), "; ".join(basis)
    )


def check_ceiling(expected: Estimate, max_cost_usd: float | None) -> str | None:
    """Hold an estimate against the most that a batch may cost.

    Raises :class:`InvalidRequestError` when it is above. Returns a warning when there is a ceiling and no price to
    hold against it: a model that is too new for the price table must not stop a run.
    """
    if max_cost_usd is None:
        return None
    if not max_cost_usd >= 0:
        raise InvalidRequestError(f"max_cost_usd is {max_cost_usd!r}: give US dollars, 0 or more")
    amount = expected.cost.amount
    if amount is None:
        return (
            f"max_cost_usd={dollars(max_cost_usd)} can't be checked: there is no batch rate for {expected.model}. "
            "Give one in a price file of your own."
        )
    if amount > max_cost_usd:
        raise InvalidRequestError(
            f"{expected.rows:,} rows for {expected.model} would cost about {dollars(amount)}, more than "
            f"max_cost_usd={dollars(max_cost_usd)}: nothing was submitted. Take fewer rows, lower maxOutputTokens, "
            f"or raise max_cost_usd. The cost is {expected.basis}; batch rates of {expected.cost.rates_as_of}."
        )
    return None


def _rounded_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _looked_at(seen: int, rows: int) -> str:
    return f"{seen:,} of {rows:,} rows" if seen < rows else "all rows"


def _output_basis(max_output_tokens: int | None) -> str:
    length = (
        f"output taken as maxOutputTokens, {max_output_tokens:,} a row, an upper bound"
        if max_output_tokens
        else f"output assumed as {ASSUMED_OUTPUT_TOKENS} tokens a row"
    )
    return f"{length}; thoughts can't be foreseen and are not added"
