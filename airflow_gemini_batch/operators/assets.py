"""The asset that a target is, and what the event of a landing says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, parse_address
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.version_compat import takes_events_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import AssetAlias, Context

    from airflow_gemini_batch.jobs.manifest import Manifest
    from airflow_gemini_batch.landing.plan import LandingReport

_MOST_JOBS = 200
_LONGEST_NAME = 1500


def target_outlets(target: Any) -> list[AssetAlias]:
    """Return the outlet of a landing: an alias, which stands for the target's asset.

    Naming the asset itself would load the Google provider whenever the DAG file is parsed. A target may be a template,
    too.
    """
    from airflow.providers.common.compat.sdk import AssetAlias

    takes = isinstance(target, str) and target.isascii() and 0 < len(target) <= _LONGEST_NAME
    return [AssetAlias(name=target if takes else "gemini_batch_target")]


def asset_uri(target: str) -> str | None:
    """Return the URI of the asset that a target is, as the Google provider names it.

    ``bigquery://project/dataset/table``, ``gs://bucket/path`` or ``file:///path``; None for a relative path.
    """
    if "://" not in target:
        return Path(target).as_uri() if Path(target).is_absolute() else None
    address = parse_address(target)
    if isinstance(address, BigQueryAddress):
        return f"bigquery://{address.project}/{address.dataset}/{address.table}"
    return target


def add_event(context: Context, target: str, extra: Mapping[str, Any]) -> None:
    """Add an event of the target's asset, or of the assets that the user has given as outlets.

    :param extra: what the event says.
    """
    from airflow.providers.common.compat.sdk import Asset

    events, uri = context.get("outlet_events"), asset_uri(target)
    for outlet in getattr(context.get("task"), "outlets", None) or ():
        if events is None:
            continue
        if hasattr(outlet, "uri"):
            events[outlet].extra.update(extra)
        elif uri and takes_events_of(outlet.name):
            events[outlet].add(Asset(uri=uri), extra=dict(extra))


def event_extra(report: LandingReport, manifests: Sequence[Manifest]) -> dict[str, str | float | None]:
    """Return what the event of a landing says: numbers and texts, for Airflow 2 takes no lists nor dicts.

    ``rows`` (in the target, of this landing), ``rows_ok``, ``rows_blocked`` and so on (rows by outcome, where there are
    any), ``prompt_tokens``, ``output_tokens``, ``thoughts_tokens`` and ``cost_usd`` (of the jobs, also of rows without
    an answer; None if not all costs are known), ``models`` and ``jobs`` (names with commas between them, at most some
    hundred jobs) and ``failed_target``.
    """
    facts = job_facts(manifests)
    return {
        "rows": report.landed,
        **{f"rows_{outcome.value}": count for outcome, count in report.counts.items() if count},
        **facts["tokens"],
        "cost_usd": facts["cost_usd"],
        "models": ",".join(facts["models"]),
        "jobs": ",".join(facts["jobs"]),
        "failed_target": report.failed_target,
    }


def job_facts(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Return ``models``, ``tokens`` by kind, ``cost_usd`` and ``jobs`` of some submissions."""
    return {
        "models": sorted({short_model_name(manifest.model) for manifest in manifests}),
        "tokens": {
            name: sum(usage.get(name, 0) for manifest in manifests for usage in manifest.usage.values())
            for name in ("prompt_tokens", "output_tokens", "thoughts_tokens")
        },
        "cost_usd": _cost(manifests),
        "jobs": [round_.job_name for manifest in manifests for round_ in manifest.rounds][:_MOST_JOBS],
    }


def _cost(manifests: Sequence[Manifest]) -> float | None:
    costs = [manifest.cost or {} for manifest in manifests]
    if any(cost.get("amount") is None or cost.get("unpriced") for cost in costs):
        return None
    return round(math.fsum(cost["amount"] for cost in costs), 6)
