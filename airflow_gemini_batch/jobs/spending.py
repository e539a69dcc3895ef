"""What the jobs of a submission cost, in tokens and in money. What is not known is a warning, never a failure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.costs.prices import Cost, PriceTable, cost_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.rounds import EndedRound
from airflow_gemini_batch.outputs.usage import Usage, UsageByModel, merge_usage


@dataclass(frozen=True, slots=True)
class Spending:
    """Tokens by model version, and their price.

    :param cost: ``None`` when the tokens could not be counted, or the prices not be read.
    """

    usage: UsageByModel
    cost: Cost | None

    def __str__(self) -> str:
        """Return the text for logs and messages; empty when nothing is known, or nothing was spent."""
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
    """Add up tokens and cost of these rounds; log a warning where they cannot be counted or priced.

    :param model: plain name of the jobs' model, for rows without a model version.
    :param prices: loads the price table.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        counted = merge_usage(*(ended.summary.count_usage() for ended in rounds))
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        # What the HTTP library raises is an OSError.
        log.warning("The tokens could not be counted: %s", error)
        return Spending({}, None)
    usage = merge_usage(*({version or model: tokens} for version, tokens in counted.items()))
    uncounted = sum(ended.tally.answered for ended in rounds) - sum(tokens.rows for tokens in usage.values())
    if uncounted > 0:
        log.warning("%d answers do not say how many tokens they took; the cost leaves them out", uncounted)
        if not usage:
            return Spending({}, None)
    try:
        cost = cost_of(usage, prices())
    except InvalidRequestError as error:
        log.warning("The tokens could not be priced: %s", error)
        return Spending(usage, None)
    if cost.unpriced:
        log.warning(
            "There is no batch rate for %s, so the cost leaves its tokens out. Add the rate in your own price file",
            ", ".join(cost.unpriced),
        )
    return Spending(usage, cost)
