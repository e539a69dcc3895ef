"""Rows looked at before requests are built of them: what all requests share, then what each row adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.preflight.findings import Finding, error, warning
from airflow_gemini_batch.requests.forms import request_faults
from airflow_gemini_batch.requests.spec import BadRow, BuildPlan
from airflow_gemini_batch.requests.templates import BadRowError, MediaSlot

CHECKED_ROWS = 100
"""Rows that a preflight makes requests of."""

_SHOWN = 10
_ANY_TEXT = "text"
_ANY_FILE = "gs://bucket/file.png"


def template_findings(plan: BuildPlan) -> list[Finding]:
    """Hold against the rules what all requests have in common, such as the generation config.

    One request is made of a made-up row, so that it needs no source.
    """
    row = dict.fromkeys(plan.template.columns, _ANY_TEXT)
    row |= {part.column: _ANY_FILE for part in plan.template.parts if isinstance(part, MediaSlot)}
    return [error(fault, place="each request") for fault in _request_faults(row, plan)]


def row_findings(rows: Iterable[Mapping[str, Any]], plan: BuildPlan) -> list[Finding]:
    """Make requests of some rows, and tell which of them can't become any or would be rejected.

    These are warnings: the build looks at all rows, and decides. It is no use for a plan with faults of its own.

    :param rows: the first ones of the source.
    """
    places: dict[str, list[str]] = {}
    keys: set[str] = set()
    for number, row in enumerate(rows, start=1):
        for fault in _row_faults(row, plan, keys):
            places.setdefault(fault, []).append(f"row {number}")
    hint = (
        "rows that can't become requests are left out"
        if plan.drop_bad_rows
        else "mend it, leave it out in a query, or set on_bad_rows='drop'"
    )
    found = [warning(fault, hint, _several(where)) for fault, where in list(places.items())[:_SHOWN]]
    if (more := len(places) - _SHOWN) > 0:
        found.append(warning(f"{more} further kinds of faults in the first rows"))
    return found


def _row_faults(row: Mapping[str, Any], plan: BuildPlan, keys: set[str]) -> Iterator[str]:
    """Say what is wrong with a row, and add its key to those seen."""
    values = [row.get(column) for column in plan.key]
    if any(value is None for value in values):
        yield BadRow.NULL_KEY
    elif (key := key_text(values)) in keys:
        yield BadRow.DUPLICATE_KEY
    else:
        keys.add(key)
    yield from _request_faults(row, plan)


def _request_faults(row: Mapping[str, Any], plan: BuildPlan) -> list[str]:
    try:
        return request_faults(orjson.loads(plan.template.fill(row)), plan.family)
    except BadRowError as fault:
        return [str(fault)]


def _several(places: list[str]) -> str:
    return places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more of the first rows"
