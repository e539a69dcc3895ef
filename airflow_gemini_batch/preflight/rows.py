"""Checks of rows before requests are built: first what all requests share, then each of the first rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.keys import key_text
from airflow_gemini_batch.preflight.findings import Finding, RowProblems, Severity, error, warning
from airflow_gemini_batch.requests.forms import check_request
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import BadRow, BadRowError

CHECKED_ROWS = 100
"""Number of rows that a preflight turns into requests."""


def template_findings(plan: BuildPlan) -> list[Finding]:
    """Check what all requests share, such as the generation config.

    It fills the template with invented values, so that it needs no source.
    """
    where = "each request"
    checked = check_request(plan.template.example(), plan.family, plan.model)
    return [
        *(error(problem, where=where) for problem in checked.errors),
        *(warning(doubt, where=where) for doubt in checked.doubts),
    ]


def row_findings(rows: Iterable[Mapping[str, Any]], plan: BuildPlan) -> list[Finding]:
    """Turn the first rows into requests, and report those that would fail.

    These are warnings: the build checks all rows, and decides. Use it only for a plan without errors among its
    :func:`template_findings`, which every row would repeat.
    """
    problems = RowProblems()
    keys: set[str] = set()
    hint = (
        "rows that can't become requests are left out"
        if plan.drop_bad_rows
        else "fix it, leave the row out with a query, or set on_bad_rows='drop'"
    )
    for number, row in enumerate(rows, start=1):
        for problem in _row_problems(row, plan, keys):
            problems.add(problem, f"row {number}", hint)
    return problems.findings(Severity.WARNING)


def _row_problems(row: Mapping[str, Any], plan: BuildPlan, keys: set[str]) -> Iterator[str]:
    """Yield what is wrong with a row, and add its key to ``keys``."""
    values = [row.get(column) for column in plan.key]
    if any(value is None for value in values):
        yield BadRow.NULL_KEY
    elif (key := key_text(values)) in keys:
        yield BadRow.DUPLICATE_KEY
    else:
        keys.add(key)
    yield from _request_problems(row, plan)


def _request_problems(row: Mapping[str, Any], plan: BuildPlan) -> list[str]:
    try:
        return check_request(orjson.loads(plan.template.fill(row)), plan.family, plan.model).errors
    except BadRowError as exc:
        return [str(exc)]
