"""Which rows a canary asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_gemini_batch.canary.rows import golden_keys
from airflow_gemini_batch.canary.settings import Canary, canary_target_of
from airflow_gemini_batch.requests.row_kinds import RowOrder, Sample, changed_rows
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


def canary_plan(
    plan: BuildPlan,
    canary: Canary,
    canary_target: str | None,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
) -> BuildPlan:
    """Return the plan of a build that asks golden rows, and a sample of the rows with a changed question.

    :param plan: of a build that asks all rows; it has a target.
    :param canary_target: where the answers land; by default ``<target>__canary``.

    Raises :class:`.InvalidRequestError` for golden rows that can't be used.
    """
    keys: frozenset[str] = frozenset()
    if canary.golden:
        keys = golden_keys(canary.golden, plan.key, storage_client, bigquery_client)
    return replace(
        plan,
        sample=Sample(keys, canary_target or canary_target_of(str(plan.target))),
        limit=lambda kinds: min(canary.rows, changed_rows(kinds)),
        order=RowOrder(strata=canary.stratify_by),
    )
