"""What the rows of a canary have taken, and what the other rows will take. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from statistics import fmean
from typing import Any

from airflow_gemini_batch.canary.figures import mean
from airflow_gemini_batch.canary.report import RollOutCost
from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.costs.prices import PriceTable, cost_of
from airflow_gemini_batch.outputs.usage import LONG_PROMPT, Usage

_PROMPT = next(iter(TOKEN_COLUMNS))


def tokens_of_a_row(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return how many tokens of each kind a row has taken on average, such as ``prompt`` and ``thoughts``.

    :param rows: those with an answer, with the columns of tokens.
    """
    measured = [row for row in rows if row.get(_PROMPT) is not None]
    means = {
        column.removeprefix("batch_").removesuffix("_tokens"): fmean(row.get(column) or 0 for row in measured)
        for column in TOKEN_COLUMNS
        if measured
    }
    return {kind: count for kind, count in means.items() if count}


def roll_out_cost(
    rows: Iterable[Mapping[str, Any]], rest_rows: int | None, prices: PriceTable, on: date
) -> RollOutCost:
    """Return the cost of a canary, and of the rows that are still to be asked, with its interval.

    Each of these is expected to take what a row of the canary with an answer has taken. The interval holds the mean of
    all rows in 95 of 100 samples.

    :param rows: those with an answer, with model and tokens.
    :param rest_rows: how many are still to be asked; ``None`` where it is not known.
    :param on: the day whose rates count.
    """
    amounts: list[float] = []
    as_of: list[str] = []
    unpriced: Counter[str] = Counter()
    unmeasured = 0
    for row in rows:
        if row.get(_PROMPT) is None:
            unmeasured += 1
            continue
        cost = cost_of({str(row.get("batch_model") or ""): _usage(row)}, prices, on=on)
        unpriced.update(cost.unpriced)
        as_of.append(cost.rates_as_of)
        amounts.append(cost.amount or 0.0)
    if unpriced:
        models = ", ".join(model or "a model without a name" for model in unpriced)
        return RollOutCost(rest_rows, unknown=f"there is no batch rate for {models}")
    average = mean(amounts)
    if average is None or unmeasured:
        return RollOutCost(rest_rows, unknown="the answers do not tell how many tokens they took")
    known = RollOutCost(rest_rows, sum(amounts), rates_as_of=min(filter(None, as_of), default=""))
    if rest_rows is None:
        return _without(known, "it is not known how many rows are still to be asked")
    if average.low is None or average.high is None:
        return _without(known, "a single answer does not tell what others take")
    low, high = (max(end, 0.0) * rest_rows for end in (average.low, average.high))
    return RollOutCost(rest_rows, known.canary, low, average.value * rest_rows, high, known.rates_as_of)


def _without(known: RollOutCost, reason: str) -> RollOutCost:
    return RollOutCost(known.rest_rows, known.canary, rates_as_of=known.rates_as_of, unknown=reason)


def _usage(row: Mapping[str, Any]) -> Usage:
    usage = Usage(
        rows=1, **{column.removeprefix("batch_"): int(row.get(column) or 0) for column in TOKEN_COLUMNS}
    )
    if usage.prompt_tokens + usage.tool_tokens <= LONG_PROMPT:
        return usage
    return usage._replace(
        long_prompt_tokens=usage.prompt_tokens,
        long_output_tokens=usage.output_tokens + usage.thoughts_tokens,
        long_cached_tokens=usage.cached_tokens,
        long_tool_tokens=usage.tool_tokens,
    )
