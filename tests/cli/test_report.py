"""gemini-batch report: its numbers, its page, and the command as a user runs it."""

from __future__ import annotations

import re
import uuid
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.cli.report import charts
from airflow_gemini_batch.cli.report.history import End, History, PastJob, cost_text
from airflow_gemini_batch.cli.report.page import MOST_JOBS, page
from airflow_gemini_batch.cli.screen import screen
from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.core.labels import airflow_labels
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState
from airflow_gemini_batch.testing.stack import LOCATION, PROJECT
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.jobs import job_request, seed, wait_for
from tests.support.requests_data import BAD_REQUEST, request, upload
from tests.support.tables import fill, make_dataset

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def past(number: int = 1, state: str = "SUCCEEDED", age: timedelta = HOUR, **more: Any) -> PastJob:
    """Return a job that waited for ten minutes and ran for twenty."""
    cost = more.pop("cost", None)
    created = NOW - age
    fields: dict[str, Any] = {
        "model": "publishers/google/models/gemini-3.8-flash",
        "labels": airflow_labels("nightly", "ask", "run"),
        "create_time": created,
        "start_time": created + timedelta(minutes=10),
        "end_time": created + timedelta(minutes=30),
        **more,
    }
    name = VertexJobName("my-project", "us-central1", str(number))
    return PastJob(BatchJob(name, JobState(f"JOB_STATE_{state}"), **fields), cost=cost)


def history(*jobs: PastJob, days: int = 7, **more: Any) -> History:
    return History("projects/p/locations/l", NOW - days * DAY, NOW, jobs, **more)


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ("SUCCEEDED", End.SUCCEEDED),
        ("PARTIALLY_SUCCEEDED", End.SUCCEEDED),
        ("FAILED", End.FAILED),
        ("CANCELLED", End.CANCELLED),
        ("EXPIRED", End.EXPIRED),
        ("RUNNING", End.UNFINISHED),
        ("CANCELLING", End.UNFINISHED),
        ("PAUSED", End.UNFINISHED),
    ],
)
def test_each_state_is_counted_as_an_end(state, end):
    assert history(past(state=state)).ends == {end: 1}


@pytest.mark.parametrize(
    ("days", "ages", "bars", "counts"),
    [
        (2, [HOUR, 1.5 * HOUR, 30 * HOUR], 3, [1, 0, 2]),
        (2, [], 3, [0, 0, 0]),
        # From a Saturday, so from the Monday before, to a Friday.
        (90, [HOUR, 6 * DAY], 14, [0] * 12 + [1, 1]),
    ],
)
def test_jobs_are_counted_by_day_or_week(days, ages, bars, counts):
    found = history(*(past(age=age) for age in ages), days=days)
    assert len(found.bars.days) == bars
    assert found.by_day(lambda _one: 1.0) == counts


def test_numbers_of_a_task_leave_out_what_is_not_known():
    jobs = [
        past(1, successful_count=90, failed_count=10, cost=Cost(1.5, "2026-11")),
        past(2, start_time=None, end_time=None, state="PENDING", age=4 * HOUR),
        past(3, labels={}, successful_count=None),
    ]
    asked, foreign = history(*jobs).tasks
    assert (asked.dag, asked.task, asked.models) == ("nightly", "ask", ["gemini-3.8-flash"])
    assert (asked.jobs, asked.succeeded, asked.answered, asked.failed) == (2, 1, 90, 10)
    assert (asked.queued, asked.ran) == ((600 + 4 * 3600) / 2, 1200)
    assert asked.cost == "$1.50 at batch rates of 2026-11, without 1 job whose cost is not known"
    assert (foreign.dag, foreign.answered, foreign.cost) == ("", None, "unknown")


@pytest.mark.parametrize(
    ("costs", "text"),
    [
        ([None, None], "unknown"),
        ([Cost(1.0, "2026-10"), Cost(2.0, "2026-11")], "$3.00 at batch rates of 2026-10"),
        (
            [Cost(1.0, "2026-10"), Cost(None, unpriced=("x",))],
            "$1.00 at batch rates of 2026-10 (no rate for x)",
        ),
    ],
)
def test_cost_says_what_is_missing(costs, text):
    assert cost_text([past(cost=cost) for cost in costs]) == text


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m"


def test_page_escapes_every_text():
    job = past(
        state="FAILED",
        display_name=HOSTILE,
        model=f"publishers/google/models/{HOSTILE}",
        error=JobError(3, HOSTILE),
        labels={"airflow_dag": HOSTILE, "airflow_task": HOSTILE},
        cost=Cost(None, unpriced=(HOSTILE,)),
    )
    found = History(HOSTILE, NOW - DAY, NOW, [job], rows_read=True, warnings=[HOSTILE])
    text = page(found, {HOSTILE: "<svg><script>alert(1)</script></svg>"})
    tags = set(re.findall(r"<(\w+)", text))
    assert not tags & {"script", "svg", "iframe", "link", "object", "form"}
    assert "\x1b" not in text
    assert text.count("<img") == 1
    assert "onerror=alert(1)&gt;" in text
    assert re.findall(r'(?:src|href)="([^"]*)', text) == [
        *re.findall(r'src="(data:image/svg\+xml;base64,[^"]*)', text),
        *[job.job.name.console_url.replace("&", "&amp;")] * 2,
    ]
    assert "default-src &#x27;none&#x27;" in text


def drawn(svg: str) -> str:
    """Return the words of a chart."""
    return " ".join(text for text in ElementTree.fromstring(svg).itertext() if text.strip())


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (charts.jobs_chart, ["succeeded", "failed", "expired", "not ended"]),
        (charts.rows_chart, ["answered", "failed", "not done"]),
        (charts.times_chart, ["queued", "ran", "10 min"]),
        (charts.cost_chart, ["cost", "$"]),
    ],
)
def test_charts_name_what_they_show(draw, words):
    jobs = [
        past(1, successful_count=90, failed_count=10, incomplete_count=5, cost=Cost(1.5, "2026-11")),
        past(2, state="FAILED", age=30 * HOUR),
        past(3, state="EXPIRED", age=50 * HOUR, start_time=None),
        past(4, state="RUNNING", end_time=None),
    ]
    svg = draw(history(*jobs))
    text = drawn(svg)
    assert [word for word in words if word not in text] == []
    assert "http" not in re.sub(r'(xmlns(:\w+)?|href)="[^"]*"|"-//W3C//[^>]*', "", svg)
    # The same jobs give the same picture.
    assert draw(history(*jobs)) == svg


@pytest.mark.parametrize(
    "draw", [charts.jobs_chart, charts.rows_chart, charts.times_chart, charts.cost_chart]
)
def test_charts_of_jobs_about_which_nothing_is_known(draw):
    job = past(create_time=None, start_time=None, end_time=None)
    assert drawn(draw(history(job)))


def test_page_lists_so_many_jobs_and_counts_all():
    text = page(history(*(past(number) for number in range(MOST_JOBS + 2))), {})
    assert "502 succeeded" in text
    assert "and 2 older jobs, which the numbers above include" in text
    assert text.count("batch-predictions/") == MOST_JOBS


@pytest.fixture
def run(vertex, tmp_path, monkeypatch):
    monkeypatch.setattr(screen, "width", 200)
    file = tmp_path / "report.html"

    def run(*arguments: str):
        place = ["--project", PROJECT, "--location", LOCATION, "--output", str(file)]
        result = CliRunner().invoke(app, ["report", *place, *arguments])
        return result, file.read_text() if file.exists() else ""

    return run


@pytest.fixture
def shop(vertex, client, gemini_batch_stack, bucket) -> str:
    """A label of three jobs: one that has answered three rows and failed one, one without data, and one that runs."""
    label = f"shop-{uuid.uuid4().hex[:12]}"
    upload(gemini_batch_stack, bucket, "in.jsonl", [*(request(f"prompt {n}") for n in range(3)), BAD_REQUEST])
    labels = {**airflow_labels("nightly", "ask", "run-1"), "shop": label}
    ended = client.create(job_request(bucket, labels=labels)).name
    (bare,) = seed(vertex, labels={"shop": label}, run_seconds=0.0)
    seed(vertex, labels={"shop": label}, run_seconds=3600.0)
    for name in (ended, bare):
        wait_for(client, name, JobState.SUCCEEDED)
    return f"shop={label}"


def test_report_draws_jobs_without_reading_their_rows(run, shop):
    result, text = run("--label", shop)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"3 jobs: .*report\.html", result.stderr)
    for told in (
        "2 succeeded, 1 not ended",
        "103 answered, 1 failed",
        "not read: --rows reads them",
        "nightly",
    ):
        assert told in text
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', text)
    assert [bool(drawn(b64decode(image).decode())) for image in images] == [True, True, True]


def test_report_reads_outcomes_tokens_and_cost_on_request(run, shop):
    result, text = run("--label", shop, "--rows")
    assert result.exit_code == 0, result.stderr
    assert "Cost by day" in text
    assert "3 ok, 1 rejected" in text
    assert re.search(
        r"<b>\$0\.\d{4} at batch rates of [\d-]+, without 2 jobs whose cost is not known</b>", text
    )


def test_report_reads_answers_in_tables_too(run, gemini_batch_stack, client, bucket):
    dataset = make_dataset(gemini_batch_stack)
    rows = [{"isbn": f"978-{number}", **request(f"prompt {number}")} for number in range(3)]
    books = fill(gemini_batch_stack, f"{dataset}.books", {"isbn": "STRING", "request": "JSON"}, rows)
    label = f"shop-{uuid.uuid4().hex[:12]}"
    addresses = {"requests": (parse_address(books),), "destination": parse_address(f"{dataset}.answers")}
    job = client.create(job_request(bucket, labels={"shop": label}, **addresses))
    wait_for(client, job.name, JobState.SUCCEEDED)
    result, text = run("--label", f"shop={label}", "--rows")
    assert result.exit_code == 0, result.stderr
    assert "<b>3 ok</b>" in text
    assert re.search(r"<b>\$0\.\d{4} at batch rates of [\d-]+</b>", text)


def test_rows_that_cannot_be_read_are_unknown_and_told(run, shop, monkeypatch):
    from airflow_gemini_batch.outputs.files import CloudStorage

    def refuse(*_arguments: object) -> None:
        raise OSError("the bucket is on fire")

    monkeypatch.setattr(CloudStorage, "tally", refuse)
    result, text = run("--label", shop, "--rows")
    assert result.exit_code == 0
    assert "the bucket is on fire" in text
    assert "the bucket is on fire" in result.stderr
    assert "<b>unknown</b>" in text


@pytest.mark.parametrize(
    ("arguments", "fault", "exit_code", "told"),
    [
        (["--newer", "soon"], None, 2, "--newer: 'soon' is not a time"),
        (["--output", "/nowhere/report.html"], None, 2, "Could not write /nowhere/report.html: No such file"),
        ([], {"status": "UNAVAILABLE"}, 3, "503 UNAVAILABLE"),
    ],
)
def test_no_page_without_all_jobs(run, vertex, arguments, fault, exit_code, told):
    if fault:
        vertex.faults.plan("error", on="list", times=None, **fault)
    result, text = run(*arguments)
    assert (result.exit_code, text) == (exit_code, "")
    assert told in " ".join(result.stderr.split())


def test_charts_have_to_be_installed(run, monkeypatch):
    monkeypatch.setattr("airflow_gemini_batch.cli.report.command.find_spec", lambda _name: None)
    result, text = run()
    assert (result.exit_code, text) == (2, "")
    assert "pip install 'airflow-gemini-batch[report]'" in result.stderr


def test_report_of_no_jobs_says_so(run):
    result, text = run("--label", "shop=nobody")
    assert result.exit_code == 0, result.stderr
    assert ("none" in text, "<img" in text) == (True, False)
