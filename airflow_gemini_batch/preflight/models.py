"""What the price table knows of a model before it is asked: its end, and whether it has a price."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.costs.estimate import NOT_CHECKED, PRICE_HINT
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.preflight.findings import Finding, error, warning

WARNED_BEFORE = timedelta(days=60)
"""How long before its end a model is warned of."""

_LATER = "if your project may use it longer, give a later day in your own price file, column retires"


def model_findings(
    model: str, table: PriceTable, on: date, *, needs_price: bool = False
) -> Iterator[Finding]:
    """Report a model that retires soon, has retired, is closed to new projects, or lacks a price.

    :param model: plain or resource name.
    :param on: the day of the check.
    :param needs_price: whether a ceiling refuses a model without one.
    """
    where = f"model {short_model_name(model)}"
    life = table.lifecycle(model)
    if life.retires and on > life.retires:
        yield error(f"Vertex AI retired it on {life.retires}", f"use a current one; {_LATER}", where)
    elif life.retires and life.retires - on <= WARNED_BEFORE:
        yield warning(f"Vertex AI retires it on {life.retires}", "change to a current one before", where)
    elif life.closed_to_new_projects and on >= life.closed_to_new_projects:
        ends = f", and retires on {life.retires}" if life.retires else ""
        yield warning(
            f"it is closed to new projects since {life.closed_to_new_projects}{ends}",
            "use a current one; projects that have not used it get 404",
            where,
        )
    if needs_price and table.rate(model, on) is None:
        yield error(f"max_cost_usd {NOT_CHECKED.format(model=short_model_name(model))}", PRICE_HINT)
