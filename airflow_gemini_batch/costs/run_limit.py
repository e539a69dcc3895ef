"""How many rows with a changed question one run asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from airflow_gemini_batch.costs.estimate import NOT_CHECKED, PRICE_HINT, Estimate, Unpriced
from airflow_gemini_batch.costs.prices import dollars
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.row_kinds import CHANGED_QUESTION_KINDS, KindCounts, RowCount


def run_limit(
    max_rows: int | None,
    max_cost_usd: float | None,
    expected: Callable[[RowCount], Estimate],
    unpriced: Unpriced = "refuse",
) -> Callable[[KindCounts], int | None] | None:
    """Return what says how many rows with a changed question fit into a run beside those that are asked anyway.

    :param max_rows: rows of a run, of all kinds.
    :param max_cost_usd: US dollars of a run; by the upper end of the estimate, of rows of average length.
    :param expected: estimates some rows.
    :param unpriced: what to do with a model whose price is not known.

    ``None`` where nothing limits a run. The function raises :class:`.InvalidRequestError` for a model without a price.
    """
    if max_rows is None and max_cost_usd is None:
        return None

    def limit(kinds: KindCounts) -> int | None:
        changed = _sum(kinds, changed=True)
        sure = _sum(kinds, changed=False)
        most = changed.rows
        if max_rows is not None:
            most = min(most, max(0, max_rows - sure.rows))
        if max_cost_usd is None or not changed.rows:
            return most
        estimate = expected(changed)
        first = expected(sure).cost.amount if sure.rows else 0.0
        if estimate.cost.amount is None or first is None:
            if unpriced == "allow":
                return most
            problem = (
                f"max_cost_usd_per_run={dollars(max_cost_usd)} {NOT_CHECKED.format(model=estimate.model)}"
            )
            raise InvalidRequestError(f"{problem}; nothing was submitted. {PRICE_HINT}")
        left = max(0.0, max_cost_usd - first)
        return min(most, int(left * changed.rows / estimate.cost.amount)) if estimate.cost.amount else most

    return limit


def _sum(kinds: KindCounts, *, changed: bool) -> RowCount:
    counts = (count for kind, count in kinds.items() if (kind in CHANGED_QUESTION_KINDS) is changed)
    return reduce(RowCount.__add__, counts, RowCount())
