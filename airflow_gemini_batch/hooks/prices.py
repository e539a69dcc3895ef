"""The price table of this Airflow: the package's own, with the rates of its configuration laid over it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import conf

from airflow_gemini_batch.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from airflow_gemini_batch.costs.prices import PriceTable


def price_table(location: str = "global") -> PriceTable:
    """Return the price table; ``[gemini_batch] price_table`` in Airflow's configuration names a CSV file.

    :param location: of the jobs, empty where it is unknown.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for a file that is not a price table.
    """
    from airflow_gemini_batch.costs.prices import PriceTable

    return PriceTable.load(conf.get("gemini_batch", "price_table", fallback="") or None, location=location)


def ceiling_of(max_cost_usd: float | str | None) -> float | None:
    """Return ``max_cost_usd``, which may be the text of a template, as a number; returns ``None`` for no ceiling.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for another text.
    """
    if max_cost_usd is None or str(max_cost_usd).strip() in ("", "None"):
        return None
    try:
        ceiling = float(max_cost_usd)
    except (TypeError, ValueError):
        ceiling = math.nan
    if math.isnan(ceiling):  # no cost is above it
        raise InvalidRequestError(f"max_cost_usd: expected a number of US dollars, got {max_cost_usd!r}")
    return ceiling
