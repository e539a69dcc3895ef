"""The summaries that people read, to the letter."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_gemini_batch.core.summary import WIDTH, FailedRows, JobSummary, Summary, duration

NAME = "projects/my-shop/locations/us-central1/batchPredictionJobs/{id}"
URL = (
    "https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/{id}?project=my-shop"
)
CREATED = datetime(2026, 11, 22, 1, tzinfo=UTC)


def job(id_: int, queued: float | None = None, ran: float | None = None, **fields: Any) -> JobSummary:
    """Return a job that was queued and ran for so many seconds."""
    started = None if queued is None else CREATED + timedelta(seconds=queued)
    ended = None if started is None or ran is None else started + timedelta(seconds=ran)
    settings = {"state": "SUCCEEDED", "created": CREATED, "started": started, "ended": ended, **fields}
    return JobSummary(NAME.format(id=id_), url=URL.format(id=id_), **settings)


CASES = {
    "nothing but a headline": (
        Summary("There is nothing to ask: no new rows among 42."),
        """
There is nothing to ask: no new rows among 42.
""",
    ),
    "preflight": (
        Summary(
            "Preflight passed: source, requests and target are ready.",
            warnings=[
                "target bq://my-shop.books.described: the dataset could not be checked: 403 no access to it"
            ],
            places={"Source": "bq://my-shop.books.books", "Target": "gs://shop/described.parquet"},
            next_step="The build task makes the requests.",
        ),
        """
Preflight passed: source, requests and target are ready.
Warning     target bq://my-shop.books.described: the dataset could not be checked:
            403 no access to it
Source      bq://my-shop.books.books
            https://console.cloud.google.com/bigquery?project=my-shop&p=my-shop&d=books&t=books&page=table
Target      gs://shop/described.parquet
Next        The build task makes the requests.
""",
    ),
    "build": (
        Summary(
            "30 of 1,042 rows become requests, for 2 jobs.",
            rows={
                "to ask": 30,
                "done already": 1000,
                "failed for good before": 0,
                "left out (key is NULL)": 12,
            },
            prompt="Title: Emma\nDescribe it.",
            cost="$0.0012 to $0.0340 for about 1,200 prompt and 9,000 to 15,360 output tokens; estimated from all rows",
            places={"Requests": "gs://shop/requests/1.jsonl\ngs://shop/requests/2.jsonl"},
            next_step="The submit task runs 2 jobs.",
        ),
        """
30 of 1,042 rows become requests, for 2 jobs.
Rows        30 to ask, 1,000 done already, 12 left out (key is NULL)
Prompt      Title: Emma
            Describe it.
Cost        $0.0012 to $0.0340 for about 1,200 prompt and 9,000 to 15,360 output
            tokens; estimated from all rows
Requests    gs://shop/requests/1.jsonl
            gs://shop/requests/2.jsonl
Next        The submit task runs 2 jobs.
""",
    ),
    "one job": (
        Summary(
            "3 of 3 rows answered.",
            rows={"ok": 3, "rejected": 0},
            tokens={"prompt": 1090, "tool": 0, "output": 149, "thoughts": 58},
            cost="$0.0009 at batch rates of 2026-11",
            jobs=[
                job(1, 29, 37, rows={"ok": 3, "missing": 0}, output="gs://shop/answers/prediction-model-1")
            ],
            next_step="The land task merges the answers into gs://shop/described.parquet.",
        ),
        """
3 of 3 rows answered.
Rows        3 ok
Tokens      1,090 prompt, 149 output, 58 thoughts
Cost        $0.0009 at batch rates of 2026-11
Job         SUCCEEDED, 3 ok; queued 29 s, ran 37 s
            projects/my-shop/locations/us-central1/batchPredictionJobs/1
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/1?project=my-shop
Answers     gs://shop/answers/prediction-model-1
Next        The land task merges the answers into gs://shop/described.parquet.
""",
    ),
    "shards and follow-ups": (
        Summary(
            "7 rows landed, 3 failed.",
            jobs=[
                job(1, 700, 7200, rows={"ok": 2, "missing": 3}, output="bq://p-1234.d.one"),
                job(2, 8, 65, follow_up=1, rows={"ok": 2, "missing": 1}, state="EXPIRED"),
                *(job(shard + 1, 60.0 * shard, shard=shard) for shard in range(2, 6)),
            ],
        ),
        """
7 rows landed, 3 failed.
Jobs        5 and 1 follow-up; queued up to 12 min, ran up to 2 h
Job 1       SUCCEEDED, 2 ok, 3 missing; queued 12 min, ran 2 h
            projects/my-shop/locations/us-central1/batchPredictionJobs/1
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/1?project=my-shop
Answers     bq://p-1234.d.one
            https://console.cloud.google.com/bigquery?project=p-1234&p=p-1234&d=d&t=one&page=table
Follow-up 1 of job 1: EXPIRED, 2 ok, 1 missing; queued 8 s, ran 65 s
            projects/my-shop/locations/us-central1/batchPredictionJobs/2
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/2?project=my-shop
Job 2       SUCCEEDED; queued 2 min
            projects/my-shop/locations/us-central1/batchPredictionJobs/3
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/3?project=my-shop
Job 3       SUCCEEDED; queued 3 min
            projects/my-shop/locations/us-central1/batchPredictionJobs/4
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/4?project=my-shop
Job 4       SUCCEEDED; queued 4 min
            projects/my-shop/locations/us-central1/batchPredictionJobs/5
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/5?project=my-shop
            and 1 more
""",
    ),
    "failures": (
        Summary(
            "The batch job succeeded, but 9 of 10 rows have no answer (90.00%; max_failed_fraction allows 5.00%).",
            failures=[
                FailedRows("rejected", "Bad Request: no such role", 7, ("978-1", "978-2", "978-3"), 400),
                FailedRows(
                    "blocked", "SAFETY\n[2026-11-22] INFO - forged \x1b[31m" + "x" * 300, 1, ("a\nb",)
                ),
                FailedRows("retryable", "429"),
            ],
            jobs=[job(1, output="bq://p-1234.d.t")],
            query="SELECT * FROM `p-1234.d.t` AS answers\nWHERE answers.status != ''",
            next_step="Fix the requests, and clear the task.",
        ),
        r"""
The batch job succeeded, but 9 of 10 rows have no answer (90.00%;
max_failed_fraction allows 5.00%).
Failed      7 rejected: Bad Request: no such role (keys 978-1, 978-2, 978-3)
            1 blocked: SAFETY\n[2026-11-22] INFO - forged
            \x1b[31mxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
            (key a\nb)
            retryable: 429
Job         SUCCEEDED
            projects/my-shop/locations/us-central1/batchPredictionJobs/1
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/1?project=my-shop
Answers     bq://p-1234.d.t
            https://console.cloud.google.com/bigquery?project=p-1234&p=p-1234&d=d&t=t&page=table
Query       SELECT * FROM `p-1234.d.t` AS answers
            WHERE answers.status != ''
Next        Fix the requests, and clear the task.
""",
    ),
    "a job that cannot be read": (
        Summary(
            "Stopped waiting for the batch job: its state could not be read for too long.",
            jobs=[job(1, state="")],
            next_step="It may still be running and billing.",
        ),
        """
Stopped waiting for the batch job: its state could not be read for too long.
Job         projects/my-shop/locations/us-central1/batchPredictionJobs/1
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/1?project=my-shop
Next        It may still be running and billing.
""",
    ),
    "an error": (
        Summary(
            "The batch job failed.",
            error="[code 3] Failed to import data. Invalid field name",
            jobs=[job(1, state="FAILED")],
        ),
        """
The batch job failed.
Error       [code 3] Failed to import data. Invalid field name
Job         FAILED
            projects/my-shop/locations/us-central1/batchPredictionJobs/1
            https://console.cloud.google.com/vertex-ai/locations/us-central1/batch-predictions/1?project=my-shop
""",
    ),
    "a prompt without spaces": (
        Summary("1 of 1 rows become requests, for 1 job.", prompt="x" * 600),
        f"""
1 of 1 rows become requests, for 1 job.
Prompt      {"x" * 72}
            {"x" * 72}
            {"x" * 72}
            {"x" * 72}
            {"x" * 72}
            {"x" * 39}…
""",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_summary_reads_like_this(case: str) -> None:
    summary, text = CASES[case]
    assert str(summary) == text.strip("\n")


@pytest.mark.parametrize("case", CASES)
def test_no_line_is_cut_but_of_what_is_copied_whole(case: str) -> None:
    copied = ("http", "projects/", "bq://", "gs://", "\\x1b")
    for line in str(CASES[case][0]).splitlines():
        assert len(line) <= WIDTH or line.split(maxsplit=1)[-1].startswith(copied) or copied[0] in line, line


def test_summary_for_others_holds_nothing_of_a_row() -> None:
    told = Summary(
        "3 rows landed, 2 failed.",
        failures=[
            FailedRows("rejected", "no such role", 2, ("patient-4711",)),
            FailedRows("blocked", "SAFETY"),
        ],
        warnings=["row 3: patient-4711 has no title"],
        prompt="patient-4711 has a cough",
        next_step="Nothing.",
    )
    assert str(told.without_rows()).splitlines() == [
        "3 rows landed, 2 failed.",
        "Failed      2 rejected",
        "Warning     1 warning in the log",
        "Next        Nothing.",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (99.4, "99 s"),
        (99.5, "2 min"),
        (720, "12 min"),
        (5940, "99 min"),
        (6000, "1 h 40 min"),
        (7200, "2 h"),
        (172_740, "47 h 59 min"),
        (172_800, "2 d"),
        (259_200 + 7 * 3600, "3 d 7 h"),
    ],
)
def test_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("state", "started", "ended", "queued", "ran"),
    [
        pytest.param("SUCCEEDED", 60, 90, 60, 30, id="ran"),
        pytest.param("EXPIRED", None, 90, 90, None, id="never-started"),
        pytest.param("RUNNING", 60, None, 60, None, id="running"),
        pytest.param("PENDING", None, None, None, None, id="queued"),
        pytest.param("SUCCEEDED", -5, -5, 0, 0, id="clocks-differ"),
    ],
)
def test_job_knows_how_long_it_waited_and_ran(
    state: str, started: float | None, ended: float | None, queued: float | None, ran: float | None
) -> None:
    times = [None if one is None else CREATED + timedelta(seconds=one) for one in (started, ended)]
    one = JobSummary("", state, "", created=CREATED, started=times[0], ended=times[1])
    assert (one.queued_seconds, one.run_seconds) == (queued, ran)


@pytest.mark.parametrize("length", range(60, 84))
def test_number_stays_on_the_line_of_its_unit(length: int) -> None:
    text = str(Summary(headline=f"{'x' * length} queued 1 s, ran 5 min, waited 3 h 5 min, 2 d 7 h"))
    assert " ".join(text.split()) == f"{'x' * length} queued 1 s, ran 5 min, waited 3 h 5 min, 2 d 7 h"
    assert not re.search(r"\d$", text, re.MULTILINE)
