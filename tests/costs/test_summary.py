"""What people read of a build."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from airflow_gemini_batch.costs.estimate import OutputLimits, estimate
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.costs.summary import build_summary
from airflow_gemini_batch.requests.spec import BadRows, BuildReport
from airflow_gemini_batch.requests.templates import BadRow
from tests.requests.plans import plan

ESTIMATE = estimate(
    "gemini-3.8-flash",
    PriceTable.load(),
    on=date(2026, 11, 22),
    rows=30,
    prompt_characters=4800,
    limits=OutputLimits(max_output_tokens=512),
)

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "jobs": (
        {
            "sources": ["bq://my-shop.books.r_1", "bq://my-shop.books.r_2"],
            "rows": 42,
            "requests": 30,
            "done": 10,
            "failed_before": 1,
            "bad": {BadRow.NULL_KEY: BadRows(1)},
        },
        """
30 of 42 rows become requests, for 2 jobs.
Rows        30 to ask, 10 done already, 1 failed for good before, 1 left out (the
            key is NULL)
Prompt      Describe Emma.
Cost        $0.0173 to $0.0293 at batch rates of 2026-11 for about 1,200 prompt and
            9,000 to 15,360 output tokens; estimated from all rows, 4 characters a
            token; each output counts as 300 to 512 tokens, up to maxOutputTokens
Model       publishers/google/models/gemini-3.8-flash
Requests    bq://my-shop.books.r_1
            https://console.cloud.google.com/bigquery?project=my-shop&p=my-shop&d=books&t=r_1&page=table
            bq://my-shop.books.r_2
            https://console.cloud.google.com/bigquery?project=my-shop&p=my-shop&d=books&t=r_2&page=table
Target      gs://shop/described.parquet
Failures    gs://shop/described__failed.parquet
Next        The submit task runs 2 jobs. 1 row left out, since the same request has
            failed for good: change the prompt or the row, set ask_failed_again=1,
            or delete them from the failures, to ask again.
""",
    ),
    "many files": (
        {"sources": [[f"gs://shop/{n}.jsonl" for n in range(5)]], "rows": 30, "requests": 30},
        """
30 of 30 rows become requests, for 1 job.
Rows        30 to ask
Prompt      Describe Emma.
Cost        $0.0173 to $0.0293 at batch rates of 2026-11 for about 1,200 prompt and
            9,000 to 15,360 output tokens; estimated from all rows, 4 characters a
            token; each output counts as 300 to 512 tokens, up to maxOutputTokens
Model       publishers/google/models/gemini-3.8-flash
Requests    gs://shop/0.jsonl
            gs://shop/1.jsonl
            gs://shop/2.jsonl
            and 2 more
Target      gs://shop/described.parquet
Next        The submit task runs 1 job.
""",
    ),
    "nothing new": (
        {"sources": [], "rows": 42, "requests": 0, "done": 42},
        """
There is nothing to ask: no new rows among 42.
Rows        42 done already
Model       publishers/google/models/gemini-3.8-flash
Target      gs://shop/described.parquet
Next        Nothing is submitted.
""",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_build_reads_like_this(case: str) -> None:
    fields, text = CASES[case]
    report = BuildReport(**fields)
    asked = report.requests > 0
    built = plan(model="publishers/google/models/gemini-3.8-flash", target="gs://shop/described.parquet")
    summary = build_summary(built, report, ESTIMATE if asked else None, "Describe Emma." if asked else "")
    assert str(summary) == text.strip("\n")
