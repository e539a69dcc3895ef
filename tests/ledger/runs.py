"""Runs, their submissions and their ledgers, for the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_gemini_batch.costs.estimate import Estimate
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.ledger.record import RunRecord
from airflow_gemini_batch.ledger.runs import built, run_record
from airflow_gemini_batch.requests.spec import BuildReport

NOW = datetime(2026, 11, 27, 2, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TARGET = "bq://my-project.shop.texts"
MODEL = "gemini-3.8-flash"

MakeLedger = Callable[[], Any]


def record(number: int = 1, usd: float | None = 5.0, **more: Any) -> RunRecord:
    """Return the record of a run whose requests, for one job, are built."""
    own = {name: more.pop(name) for name in ("kind", "group", "labels") if name in more}
    base = run_record(
        more.pop("dag_id", "nightly"),
        f"run-{number}",
        more.pop("target", TARGET),
        more.pop("model", MODEL),
        more.pop("started", NOW),
        **own,
    )
    sources = more.pop("sources", [f"bq://my-project.shop.requests_{number}"])
    return replace(built(base, report(sources), estimated(usd)), **more)


def report(sources: list[Any], requests: int = 100) -> BuildReport:
    return BuildReport(sources, rows=120, requests=requests if sources else 0, done=20)


def estimated(usd: float | None) -> Estimate:
    cost = Cost(usd, "2026-11") if usd is not None else Cost(None, unpriced=(MODEL,))
    return Estimate(MODEL, 100, 1000, 100, 2000, cost, cost, "a guess")


def manifest(
    job: str = "jobs/1",
    usd: float | None = 2.0,
    created: datetime | None = NOW,
    follow_ups: int = 0,
    unpriced: tuple[str, ...] = (),
    usage: Mapping[str, Mapping[str, int]] | None = None,
) -> Manifest:
    times = {"created": created.isoformat()} if created else {}
    names = [job, *(f"{job}-{number}" for number in range(1, follow_ups + 1))]
    return Manifest(
        identity=f"identity of {job}",
        model=MODEL,
        console_url="https://console",
        counts={"ok": 90, "rejected": 10},
        rounds=tuple(Round(name, "JOB_STATE_SUCCEEDED", (), "", {}, times=times) for name in names),
        usage=usage or {MODEL: {"rows": 100, "prompt_tokens": 1000, "output_tokens": 500}},
        cost=None if usd is None else Cost(usd, "2026-11", unpriced).to_json(),
    )
