"""What the jobs of a run took, in tokens and in money: told as far as it is known, never a reason to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.follow_ups import EndedRound
from airflow_gemini_batch.outputs.usage import Usage, UsageByModel, merge_usage


@dataclass(frozen=True, slots=True)
class Spending:
    """Tokens by model version, and their price.

    :param cost: ``None`` when the tokens could not be counted, or the prices not be read.
    """

    usage: UsageByModel
    cost: Cost | None

    def __str__(self) -> str:
        """Say it for people; empty when nothing is known, or nothing was spent."""
        whole = sum(self.usage.values(), Usage())
        kinds = [
            f"{count:,} {kind}"
            for count, kind in (
                (whole.prompt_tokens, "prompt"),
                (whole.output_tokens, "output"),
                (whole.thoughts_tokens, "thoughts"),
            )
            if count
        ]
        return f"{', '.join(kinds)} tokens: {self.cost or 'cost unknown'}" if kinds else ""


def spent_on(
    rounds: Sequence[EndedRound], model: str, prices: Callable[[], PriceTable], log: Log
) -> Spending:
    """Add up what the jobs of these rounds took; what can't be counted or priced is a warning.

    :param model: plain name of the jobs' model, for rows that do not tell its version.
    :param prices: loads the price table.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        counted = merge_usage(*(one.summary.count_usage() for one in rounds))
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        # What the HTTP library raises is an OSError.
        log.warning("The tokens could not be counted: %s", error)
        return Spending({}, None)
    usage = merge_usage(*({version or model: tokens} for version, tokens in counted.items()))
    untold = sum(one.tally.answered for one in rounds) - sum(tokens.rows for tokens in usage.values())
    if untold > 0:
        log.warning("%d answers do not tell their tokens, which are not counted", untold)
        if not usage:
            return Spending({}, None)
    try:
        cost = cost_of(usage, prices())
    except InvalidRequestError as error:
        log.warning("The tokens could not be priced: %s", error)
        return Spending(usage, None)
    if cost.unpriced:
        log.warning(
            "There is no batch rate for %s, whose tokens are not in the cost: give one in a price file of your own",
            ", ".join(cost.unpriced),
        )
    return Spending(usage, cost)
