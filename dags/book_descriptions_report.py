"""After each night of `nightly_book_descriptions`: what came of it, from the event of its asset.

Scheduled on the asset that the land task updates. The event says how many rows landed, how many failed in which way,
the tokens and the cost.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task

with DAG(
    dag_id="book_descriptions_report",
    schedule=[Asset("book_descriptions")],
    start_date=datetime(2026, 1, 1),
    catchup=False,
    doc_md=__doc__,
    tags=["gemini-batch"],
) as dag:

    @task
    def report(**context: Any) -> list[dict[str, Any]]:
        """Print each landing since the last run and return what its event says."""
        known = (
            "triggering_asset_events" if "triggering_asset_events" in context else "triggering_dataset_events"
        )
        landings = [dict(event.extra) for events in context[known].values() for event in events]
        for landing in landings:
            failed = sum(landing[name] for name in landing if name.startswith("rows_")) - landing["rows"]
            print(f"{landing['rows']} rows landed, {failed} failed, {landing['cost_usd']} USD")
        return landings

    report()
