"""What people read of a landing: totals over jobs, and what the next run asks about."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.summary import FailedRows
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.landing.plan import LandingReport
from airflow_gemini_batch.landing.summary import landing_summary
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.usage import Usage
from tests.support.texts import flat


def round_(number: int, ok: int, missing: int = 0, minutes: int = 10) -> Round:
    times = {"created": "00", "started": f"{minutes:02}", "ended": f"{2 * minutes:02}"}
    return Round(
        job_name=f"jobs/{number}",
        state="JOB_STATE_SUCCEEDED",
        source=(f"gs://shop/{number}.jsonl",),
        output=f"gs://shop/{number}",
        counts={"ok": ok, "missing": missing},
        times={name: f"2026-11-22T01:{minute}:00+00:00" for name, minute in times.items()},
    )


def manifest(*rounds: Round, cost: Cost | None, **usage: int) -> Manifest:
    return Manifest(
        identity="1",
        model="gemini-3.8-flash",
        console_url="",
        counts={},
        rounds=rounds,
        usage={"gemini-3.8-flash": Usage(rows=1, **usage).to_json()},
        cost=cost.to_json() if cost else None,
    )


def told(counts: dict[Outcome, int], manifests: Any = (), failures: Any = (), **options: Any) -> str:
    target = options.pop("target", "bq://my-shop.books.described")
    report = LandingReport(target, f"{target}__failed", counts, ["rejected: no such role"])
    settings = {"bookkeeping": True, **options}
    return str(
        landing_summary(report, manifests, failures, lambda name: f"https://console/{name}", **settings)
    )


def test_jobs_of_several_shards_and_rounds_are_added_up() -> None:
    manifests = [
        manifest(round_(1, 38, 4), round_(2, 4, minutes=1), cost=Cost(0.5, "2026-11"), prompt_tokens=1000),
        manifest(round_(3, 40, minutes=20), cost=Cost(0.25, "2026-11"), prompt_tokens=500, thoughts_tokens=7),
    ]
    text = told({Outcome.OK: 82}, manifests)
    assert text.splitlines()[:5] == [
        "82 rows landed.",
        "Rows        82 ok",
        "Tokens      1,500 prompt, 7 thoughts",
        "Cost        $0.7500 at batch rates of 2026-11",
        "Jobs        2 and 1 follow-up; queued up to 20 min, ran up to 20 min",
    ]
    assert "Follow-up 1 of job 1: SUCCEEDED, 4 ok; queued 60 s, ran 60 s\n            jobs/2" in text
    assert "Job 2       SUCCEEDED, 40 ok; queued 20 min, ran 20 min\n            jobs/3\n" in text
    assert "Query" not in text


def test_cost_that_is_not_known_of_all_jobs_says_so() -> None:
    manifests = [manifest(round_(1, 1), cost=None), manifest(round_(2, 1), cost=Cost(0.25, "2026-11"))]
    assert "Cost $0.2500 at batch rates of 2026-11, without 1 submission whose cost is not known" in flat(
        told({Outcome.OK: 2}, manifests)
    )
    assert "Cost" not in told({Outcome.OK: 1}, manifests[:1])


@pytest.mark.parametrize(
    ("counts", "failures", "options", "step"),
    [
        pytest.param(
            {Outcome.OK: 3},
            [],
            {},
            "The next incremental run asks about new and changed rows only.",
            id="all-ok",
        ),
        pytest.param(
            {Outcome.OK: 1, Outcome.MISSING: 2},
            [],
            {},
            "asks about new and changed rows, and again about 2 that failed temporarily.",
            id="temporary",
        ),
        pytest.param(
            {Outcome.BLOCKED: 2},
            [],
            {},
            "asks about new and changed rows only. 2 failed for good: they are asked again when",
            id="for-good",
        ),
        pytest.param(
            {Outcome.REJECTED: 5},
            [
                FailedRows("rejected", "no right", 3, ("978-1",), 403),
                FailedRows("rejected", "no such role", 2, ("978-2",), 400),
            ],
            {},
            "and again about 3 that failed temporarily. 2 failed for good",
            id="codes-decide",
        ),
        pytest.param(
            {Outcome.OK: 1},
            [],
            {"bookkeeping": False},
            "The next run asks about all rows again: without bookkeeping nothing says which are done.",
            id="no-bookkeeping",
        ),
    ],
)
def test_next_step_says_which_rows_are_asked_again(
    counts: dict[Outcome, int], failures: list[FailedRows], options: dict[str, Any], step: str
) -> None:
    assert step in flat(told(counts, failures=failures, **options))


@pytest.mark.parametrize(
    ("target", "query"),
    [
        (
            "bq://my-shop.books.failed",
            "SELECT * FROM `my-shop.books.failed__failed` AS failed ORDER BY failed_time DESC LIMIT 100",
        ),
        ("gs://shop/described.parquet", ""),
    ],
)
def test_failures_are_shown_with_their_messages_and_a_query(target: str, query: str) -> None:
    text = flat(told({Outcome.OK: 1, Outcome.REJECTED: 1}, target=target))
    assert "Failed rejected: no such role" in text
    assert f"Failures {target}__failed" in text
    assert (f"Query {query}" in text) if query else ("Query" not in text)
