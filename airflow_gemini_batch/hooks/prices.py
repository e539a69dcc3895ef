"""The price table of this Airflow: the package's own, or the one that its configuration lays over it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_gemini_batch.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from airflow_gemini_batch.costs.prices import PriceTable


def price_table() -> PriceTable:
    """Return the price table; ``[gemini_batch] price_table`` in Airflow's configuration names a CSV file.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a file that can't be read as one.
    """
    from airflow_gemini_batch.costs.prices import PriceTable

    return PriceTable.load(conf.get("gemini_batch", "price_table", fallback="") or None)


def ceiling_of(max_cost_usd: float | str | None) -> float | None:
    """Return ``max_cost_usd`` as a number, which a template renders to text; ``None`` for no ceiling.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for what is no number.
    """
    if max_cost_usd is None or str(max_cost_usd).strip() in ("", "None"):
        return None
    try:
        ceiling = float(max_cost_usd)
    except (TypeError, ValueError):
        ceiling = math.nan
    if math.isnan(ceiling):  # which no cost is above
        raise InvalidRequestError(f"max_cost_usd has to be US dollars, got {max_cost_usd!r}")
    return ceiling
