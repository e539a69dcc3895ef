"""The estimated tokens and cost of a batch before it is submitted, and the check against ``max_cost_usd``."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, get_args

from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of, dollars
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.usage import LONG_PROMPT, Usage

CHARACTERS_PER_TOKEN = 4
"""For European languages. Chinese, Japanese and Korean text takes up to a token for each character."""

TOKENS_PER_MEDIUM = 258
"""For an image, a page of a document or a second of video."""

ASSUMED_OUTPUT_TOKENS = 300
"""Tokens of an answer at least, when nothing is known of earlier ones."""

ASSUMED_MOST_OUTPUT_TOKENS = 1_000
"""Tokens of an answer at most, when requests set no maxOutputTokens either: a guess, not a limit."""

ASSUMED_MOST_THOUGHTS_TOKENS = 4_000
"""Tokens of thoughts for an answer at most, under the same condition."""

Unpriced = Literal["refuse", "allow"]
"""What a ceiling does with a model whose price is not known."""

# Later models think unless told not to.
_WITHOUT_THOUGHTS = re.compile(r"gemini-(1|2\.0)")


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """What requests say about the tokens of their answers.

    :param max_output_tokens: ``maxOutputTokens``, thoughts among them, if all requests have one; else ``None``.
    :param thinks: whether the model may think: ``False`` when ``thinkingBudget`` is 0 in all requests.
    :param tools: whether requests name tools; what these read is billed as input, and unknown before.
    """

    max_output_tokens: int | None = None
    thinks: bool = True
    tools: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """The tokens and the cost that a batch is expected to take: an interval, or a point where both ends are the same.

    As JSON: ``model``, ``rows``, ``prompt_tokens``, ``output_tokens`` and ``cost`` (the upper end),
    ``output_tokens_low`` and ``cost_low`` (the lower one), ``basis``; see :class:`.Cost` for costs.

    :param prompt_tokens: what tools feed to the model is among them, where earlier answers have shown it.
    :param output_tokens: thoughts are among them.
    :param basis: what was counted and what was assumed, as text.
    """

    model: str
    rows: int
    prompt_tokens: int
    output_tokens_low: int
    output_tokens: int
    cost_low: Cost
    cost: Cost
    basis: str

    def __str__(self) -> str:
        output = between(f"{self.output_tokens_low:,}", f"{self.output_tokens:,}")
        return (
            f"{self.rows:,} rows for {self.model}, about {self.prompt_tokens:,} prompt and "
            f"{output} output tokens: {self.price}; {self.basis}"
        )

    @property
    def price(self) -> str:
        """The cost as text, with both ends."""
        low, high = str(self.cost_low), str(self.cost)
        if low == high or self.cost_low.amount is None:
            return high
        return f"{dollars(self.cost_low.amount)} to {high}"

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON types."""
        return {**asdict(self), "cost_low": self.cost_low.to_json(), "cost": self.cost.to_json()}


def between(low: str, high: str) -> str:
    """Return the text of an interval, or of a point."""
    return high if low == high else f"{low} to {high}"


def estimate(
    model: str,
    table: PriceTable,
    *,
    on: date,
    rows: int,
    prompt_characters: int,
    media: int = 0,
    limits: OutputLimits = OutputLimits(),
    earlier: Usage | None = None,
    sampled_rows: int | None = None,
    embeddings: bool = False,
) -> Estimate:
    """Estimate a batch from the size of its prompts, and its answers from earlier ones or from their limits.

    :param on: the day whose rates count.
    :param rows: all rows of the batch.
    :param prompt_characters: characters of the sampled prompts, with their system instructions.
    :param media: files that the sampled rows refer to.
    :param earlier: what answers of the same model in earlier runs took.
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
    sample = f"{seen:,} of {rows:,} rows" if seen < rows else "all rows"
    basis = f"estimated from {sample}, {CHARACTERS_PER_TOKEN} characters a token"
    if media:
        basis += f"; each file counts as {TOKENS_PER_MEDIUM} tokens, as an image does: others take more"
    low = high = 0
    if not embeddings:
        if earlier and earlier.rows:
            prompt_tokens += _rounded_up(earlier.tool_tokens * rows, earlier.rows)
            taken = _rounded_up((earlier.output_tokens + earlier.thoughts_tokens) * rows, earlier.rows)
            most = limits.max_output_tokens
            low = high = min(taken, most * rows) if most else taken
            basis += f"; each answer takes what {earlier.rows:,} answers in the target took on average"
        else:
            low, high, assumed = _assumed_output(model, limits)
            low, high = low * rows, high * rows
            basis += f"; {assumed}"
            if limits.tools:
                basis += "; what tools read is not known, and not included"

    def cost(output_tokens: int) -> Cost:
        # The mean length decides the price tier: the lengths of single prompts are not known here.
        long = prompt_tokens > rows * LONG_PROMPT
        usage = Usage(
            rows=rows,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            long_prompt_tokens=prompt_tokens if long else 0,
            long_output_tokens=output_tokens if long else 0,
        )
        return cost_of({model: usage}, table, on=on)

    return Estimate(model, rows, prompt_tokens, low, high, cost(low), cost(high), basis)


def _assumed_output(model: str, limits: OutputLimits) -> tuple[int, int, str]:
    """Return the output tokens of one answer, at least and at most, and the text that says so."""
    if most := limits.max_output_tokens:
        # Thoughts use up the same limit: thoughtsTokenCount + candidatesTokenCount has never been seen above it.
        low = min(ASSUMED_OUTPUT_TOKENS, most)
        return (
            low,
            most,
            f"each output counts as {between(str(low), f'{most:,}')} tokens, up to maxOutputTokens",
        )
    thinks = limits.thinks and not _WITHOUT_THOUGHTS.match(short_model_name(model))
    most = ASSUMED_MOST_OUTPUT_TOKENS + (ASSUMED_MOST_THOUGHTS_TOKENS if thinks else 0)
    thoughts = " with thoughts" if thinks else ""
    return (
        ASSUMED_OUTPUT_TOKENS,
        most,
        f"each output counts as {ASSUMED_OUTPUT_TOKENS} to {most:,} tokens{thoughts}, since nothing limits it: "
        "set maxOutputTokens",
    )


def check_ceiling(
    expected: Estimate, max_cost_usd: float | None, unpriced: Unpriced = "refuse"
) -> str | None:
    """Compare the upper end of an estimate with the highest cost that is allowed.

    Returns a warning when the model has no price and ``unpriced`` is ``allow``, otherwise ``None``.

    Raises :class:`InvalidRequestError` when the estimate is higher, or can't be made without a price.
    """
    if unpriced not in get_args(Unpriced):
        raise InvalidRequestError(f"unpriced: expected 'refuse' or 'allow', got {unpriced!r}")
    if max_cost_usd is None:
        return None
    if not max_cost_usd >= 0:
        raise InvalidRequestError(f"max_cost_usd: expected US dollars, 0 or more, got {max_cost_usd!r}")
    amount = expected.cost.amount
    if amount is None:
        problem = f"max_cost_usd={dollars(max_cost_usd)} {NOT_CHECKED.format(model=expected.model)}"
        if unpriced == "allow":
            return problem
        raise InvalidRequestError(f"{problem}; nothing was submitted. {PRICE_HINT}")
    if amount > max_cost_usd:
        raise InvalidRequestError(
            f"{expected.rows:,} rows for {expected.model} would cost about {expected.price}, more than "
            f"max_cost_usd={dollars(max_cost_usd)}; nothing was submitted. Send fewer rows, lower maxOutputTokens, "
            f"or raise max_cost_usd. The cost is {expected.basis}."
        )
    return None


NOT_CHECKED = "can't be checked: there is no batch rate for {model}"
PRICE_HINT = (
    "Add its rate to a price file of your own ([gemini_batch] price_table in Airflow's configuration, --prices on "
    "the command line), or set unpriced='allow' to run without the check"
)


def _rounded_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
