"""What a user says about a canary: which rows it asks, and what decides whether the others are asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from airflow_gemini_batch.core.columns import target_beside
from airflow_gemini_batch.core.defaults import DEFAULT_MAX_FAILED_FRACTION
from airflow_gemini_batch.exceptions import InvalidRequestError

MOST_ROWS = 10_000
"""Rows of a sample at most, and golden rows at most: they are compared in the worker's memory."""

CANARY_SUFFIX = "__canary"

Approve = Literal["thresholds", "person"]
"""Who decides whether the other rows are asked."""


def canary_target_of(target: str) -> str:
    """Return where the answers of a target's canary land: ``bq://p.d.books__canary``, ``books__canary.parquet``."""
    return target_beside(target, CANARY_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """Ask some rows a changed question first, and compare the answers with those that are there.

    Example::

        Canary(rows=200, golden="bq://my-shop.books.golden", min_agreement=0.95, min_golden_accuracy=0.9)

    Shares are numbers from 0 to 1. A threshold that can't be checked is not met: without a price of the model, say,
    ``max_cost_usd`` stops the roll-out.

    :param rows: how many of the rows with a changed question are asked first. The same ones are chosen in each run.
    :param stratify_by: column of the source whose values all are among them.
    :param golden: rows whose right answer is known, which are asked as well: a ``bq://`` table, or a file (CSV, JSON
        Lines or Parquet; ``gs://`` or a local path). It has the key's columns, and those of the answer's columns that
        are to be checked. NULL there means that NULL is right.
    :param min_agreement: share of the rows whose new answer has to be the old one in all fields, for vectors the share
        whose cosine is 0.99 or more.
    :param min_golden_accuracy: share of the golden rows that have to be answered right, in all fields that they have.
    :param max_invalid: share of the rows that may have no usable answer. 0.05 by default, as when results are landed.
    :param max_cost_usd: most US dollars for the whole roll-out: what the canary has taken, and the upper end of what
        the other rows are expected to take.
    :param approve: whether the ``thresholds`` decide (the default), or a ``person`` who is shown the comparison.
    """

    rows: int = 200
    stratify_by: str | None = None
    golden: str | None = None
    min_agreement: float | None = None
    min_golden_accuracy: float | None = None
    max_invalid: float | None = DEFAULT_MAX_FAILED_FRACTION
    max_cost_usd: float | None = None
    approve: Approve = "thresholds"

    def __post_init__(self) -> None:
        """Raise :class:`.InvalidRequestError` that names each parameter with a wrong value."""
        if errors := [f"canary: {error}" for one in fields(self) if (error := _error(self, one.name))]:
            raise InvalidRequestError("\n".join(errors))


def _error(canary: Canary, name: str) -> str:
    """Return what is wrong with a parameter; empty if nothing is."""
    value = getattr(canary, name)
    expected = ""
    if name == "rows":
        if not _is_number(value) or not isinstance(value, int) or not 1 <= value <= MOST_ROWS:
            expected = f"a number of rows, 1 to {MOST_ROWS:,}"
    elif name == "approve":
        if value not in get_args(Approve):
            expected = " or ".join(map(repr, get_args(Approve)))
    elif value is None:
        return ""
    elif name == "stratify_by":
        if not isinstance(value, str) or not value.strip():
            expected = "the name of a column"
    elif name == "golden":
        return _golden_error(value)
    elif name == "max_cost_usd":
        if not _is_number(value) or not 0 <= value < math.inf:
            expected = "US dollars, 0 or more"
    elif not _is_number(value) or not 0 <= value <= 1:
        expected = "a share, 0 to 1"
    elif name == "min_golden_accuracy" and canary.golden is None:
        return "min_golden_accuracy needs golden rows: give golden, a bq:// table or a file"
    return expected and f"{name}: expected {expected}, got {value!r:.200}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _golden_error(value: Any) -> str:
    from airflow_gemini_batch.requests.sources import QueryRows, parse_row_source

    if isinstance(value, str) and "{{" in value:
        return ""  # a template, which is read when it is rendered
    try:
        is_query = isinstance(value, str) and isinstance(parse_row_source(value), QueryRows)
    except InvalidRequestError as error:
        return f"golden: {error}"
    if not isinstance(value, str) or is_query:
        return f"golden: expected a bq:// table or one file with rows, got {value!r:.200}"
    return ""
