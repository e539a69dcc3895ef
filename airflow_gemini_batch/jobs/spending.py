"""What the jobs of a submission cost, in tokens and in money. What is not known is a warning, never a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.models import is_other_model, short_model_name
from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of, dollars
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.jobs.rounds import EndedRound
from airflow_gemini_batch.outputs.usage import Usage, UsageByModel, merge_usage


@dataclass(frozen=True, slots=True)
class Spending:
    """Tokens by model version, and their price.

    :param cost: ``None`` when the tokens could not be counted, or the prices not be read.
    :param other_models: rows that another model than the job's has answered, by its version.
    """

    usage: UsageByModel
    cost: Cost | None
    other_models: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the text for logs and messages; empty when nothing is known, or nothing was spent."""
        whole = sum(self.usage.values(), Usage())
        kinds = [
            f"{count:,} {kind}"
            for count, kind in (
                (whole.prompt_tokens, "prompt"),
                (whole.tool_tokens, "tool"),
                (whole.output_tokens, "output"),
                (whole.thoughts_tokens, "thoughts"),
            )
            if count
        ]
        return f"{', '.join(kinds)} tokens: {self.cost or 'cost unknown'}" if kinds else ""


def spent_on(
    rounds: Sequence[EndedRound], model: str, prices: Callable[[], PriceTable], log: Log
) -> Spending:
    """Add up tokens and cost of these rounds; log a warning where they cannot be counted or priced.

    Each job has the rates of the day of its creation.

    :param model: resource name of the jobs' model.
    :param prices: loads the price table.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    name = short_model_name(model)
    try:
        counted = [_named(ended.summary.count_usage(), name) for ended in rounds]
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        # What the HTTP library raises is an OSError.
        log.warning("The tokens could not be counted: %s", error)
        return Spending({}, None)
    usage = merge_usage(*counted)
    others = _other_models(usage, model, log)
    uncounted = sum(ended.tally.answered for ended in rounds) - sum(tokens.rows for tokens in usage.values())
    if uncounted > 0:
        log.warning("%d answers do not say how many tokens they took; the cost leaves them out", uncounted)
        if not usage:
            return Spending({}, None)
    if searches := sum(tokens.searches for tokens in usage.values()):
        log.warning(
            "The answers took %s searches; the cost leaves out what Google bills for them", f"{searches:,}"
        )
    try:
        table = prices()
    except InvalidRequestError as error:
        log.warning("The tokens could not be priced: %s", error)
        return Spending(usage, None, others)
    costs = (
        cost_of(
            tokens,
            table,
            on=(ended.job.create_time or datetime.now(UTC)).astimezone(UTC).date(),
        )
        for ended, tokens in zip(rounds, counted, strict=True)
    )
    cost = reduce(Cost.__add__, costs)
    if cost.unpriced:
        log.warning(
            "There is no batch rate for %s, so the cost leaves its tokens out. Add the rate in your own price file",
            ", ".join(cost.unpriced),
        )
    return Spending(usage, cost, others)


def _named(usage: UsageByModel, model: str) -> UsageByModel:
    """Return the counts with the job's model for rows without a model version."""
    return merge_usage(*({version or model: tokens} for version, tokens in usage.items()))


def _other_models(usage: UsageByModel, model: str, log: Log) -> dict[str, int]:
    others = {version: tokens.rows for version, tokens in usage.items() if is_other_model(version, model)}
    for version, rows in others.items():
        log.warning(
            "%s rows were answered by %s, not by %s: Vertex AI answers with another model when it has retired the one "
            "that was asked. Set model= to a current one",
            f"{rows:,}",
            version,
            short_model_name(model),
        )
    return others


class CeilingReachedError(GeminiBatchError):
    """A follow-up job would cost more than what is left of the ceiling."""


def check_follow_up(spent: Spending, rows: int, max_cost_usd: float, *, allow_unpriced: bool = False) -> None:
    """Raise :class:`CeilingReachedError` unless a follow-up fits below the ceiling, together with all jobs before it.

    Each of its rows is taken to cost as much as those that were answered. Where none was, nothing is spent, and the
    estimate of the first job, which asked for more rows, was below the ceiling.

    :param rows: that the follow-up would ask for.
    :param allow_unpriced: leave out of the comparison what has no price, instead of refusing it.
    """
    if spent.cost is None or (spent.cost.unpriced and not allow_unpriced):
        raise CeilingReachedError(
            f"{rows} rows have no answer and are not sent again: the cost of the jobs so far is not known "
            f"({spent.cost or 'their tokens could not be counted'}), so max_cost_usd={dollars(max_cost_usd)} cannot be "
            "checked"
        )
    counted = sum(usage.rows for usage in spent.usage.values())
    amount = spent.cost.amount or 0.0
    expected = amount / counted * rows if counted else 0.0
    if counted and amount + expected > max_cost_usd:
        raise CeilingReachedError(
            f"{rows} rows have no answer and are not sent again: {dollars(amount)} are spent, the follow-up "
            f"job would cost about {dollars(expected)}, and max_cost_usd={dollars(max_cost_usd)} is for all jobs of "
            "the task. Raise it and clear the task to send them"
        )
