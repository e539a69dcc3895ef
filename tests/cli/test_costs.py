"""gemini-batch costs: its sums, its page, and the command as a user runs it."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import replace
from datetime import datetime
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.cli.costs.page import MOST_RUNS, Costs, drawn, page
from airflow_gemini_batch.cli.costs.sums import Sum, checked_group, items_of, sums_by
from airflow_gemini_batch.cli.screen import results, screen
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.ledger.addresses import ledger_of
from airflow_gemini_batch.ledger.budgets import Budget
from airflow_gemini_batch.ledger.record import REFUSED
from airflow_gemini_batch.ledger.runs import with_costs
from airflow_gemini_batch.testing.stack import PROJECT
from tests.ledger.runs import DAY, HOUR, NOW, manifest, record
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, make_dataset


def landed(number: int, usd: float | None, time: datetime = NOW, job: str = "", **more):
    return with_costs(
        record(number, more.pop("expected", 9.0), started=time, **more),
        [manifest(job or f"jobs/{number}", usd, time, unpriced=("other",) if number == 7 else ())],
        {},
        time,
    )


RUNS = [
    landed(1, 2.0, NOW - DAY, labels={"team": "search"}),
    landed(2, 0.5, model="gemini-3.8-pro", labels={"team": "maps"}),
    landed(3, None, dag_id="weekly"),
    record(4, 4.0, dag_id="weekly"),
    replace(record(5, 4.0, dag_id="refused"), state=REFUSED),
    # It asked the same as the first one, and waited for its job.
    landed(6, 2.0, NOW - DAY, job="jobs/1", dag_id="late"),
    record(8, None, dag_id="unpriced"),
]


@pytest.mark.parametrize(
    ("by", "sums"),
    [
        (
            "dag",
            [
                ("weekly", 2, 1, "unknown", "$13.00"),
                ("nightly", 2, 2, "$2.50", ""),
                ("unpriced", 1, 0, "unknown", "unknown"),
            ],
        ),
        (
            "model",
            [
                ("gemini-3.8-flash", 4, 2, "$2.00, without 3 runs", "$13.00, without 1 run"),
                ("gemini-3.8-pro", 1, 1, "$0.5000", ""),
            ],
        ),
        (
            "day",
            [
                ("2026-11-26", 1, 1, "$2.00", ""),
                ("2026-11-27", 4, 2, "$0.5000, without 3 runs", "$13.00, without 1 run"),
            ],
        ),
        (
            "target",
            [("bq://my-project.shop.texts", 5, 3, "$2.50, without 3 runs", "$13.00, without 1 run")],
        ),
        (
            "label:team",
            [
                ("", 3, 1, "unknown", "$13.00, without 1 run"),
                ("search", 1, 1, "$2.00", ""),
                ("maps", 1, 1, "$0.5000", ""),
            ],
        ),
    ],
)
def test_costs_are_added_up(by, sums):
    found = sums_by(items_of(RUNS, None), checked_group(by))
    assert [(one.name, one.runs, one.jobs, one.cost, one.reserved) for one in found] == sums


def test_costs_since():
    assert [item.run.run_id for item in items_of(RUNS, NOW - HOUR)] == ["run-2", "run-3", "run-4", "run-8"]
    assert Sum.of("", items_of(RUNS, NOW + DAY)).cost == "$0.00"


def test_models_without_a_rate_are_named():
    assert Sum.of("", items_of([landed(7, 1.0)], None)).cost == "$1.00 (no rate for other)"


@pytest.mark.parametrize("by", ["", "dags", "label:", "team"])
def test_other_groups_are_refused(by):
    with pytest.raises(ValueError, match="is not one of dag, model, day, target or label:NAME"):
        checked_group(by)


def costs(runs, by=("dag", "model", "day"), budgets=(), days=30) -> Costs:
    used = [budget.used(runs, NOW) for budget in budgets]
    return Costs(["bq://p.d.t__runs"], NOW - days * DAY, NOW, by, items_of(runs, None), runs, used)


def words(svg: str) -> str:
    return " ".join(text for text in ElementTree.fromstring(svg).itertext() if text.strip())


HOSTILE = "$x^2$<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m"


def test_page_escapes_every_text():
    run = landed(
        1,
        2.0,
        dag_id=HOSTILE,
        target=HOSTILE,
        model=HOSTILE,
        question=HOSTILE,
        labels={"team": HOSTILE},
        rows={HOSTILE: 1},
    )
    told = replace(
        costs([run], ("dag", "label:team"), [Budget(usd=5, labels={"a": HOSTILE})]), ledgers=[HOSTILE]
    )
    charts = drawn(told)
    text = page(told, charts)
    assert not set(re.findall(r"<(\w+)", text)) & {"script", "svg", "iframe", "link", "object", "form"}
    assert "\x1b" not in text
    assert text.count("<img") == len(charts) == 3
    assert re.findall(r'(?:src|href)="(?!data:image/svg\+xml;base64,)', text) == []
    assert all("$x^2$<script>" in words(svg) and "<script" not in svg for svg in charts.values())


def test_charts_name_what_they_show():
    runs = [*RUNS, *(landed(10 + n, 0.1 * n, dag_id=f"_dag_{n}", expected=1.0) for n in range(1, 9))]
    charts = drawn(costs(runs, budgets=[Budget(usd=100), Budget(usd=5, per="day", labels={"team": "maps"})]))
    assert list(charts) == ["Cost by day and DAG", "Cost by day and model", "Budgets"]
    told = words(charts["Cost by day and DAG"])
    assert [name for name in ("nightly", "_dag_8", "_dag_4", "others", "$") if name not in told] == []
    assert "_dag_3" not in told
    assert "$5.00 a day for team=maps" in words(charts["Budgets"])
    assert list(drawn(costs(RUNS, ["day"], days=90))) == ["Cost by week"]
    assert drawn(costs([])) == {}


def test_page_lists_so_many_runs_and_counts_all():
    text = page(costs([record(number) for number in range(MOST_RUNS + 2)]), {})
    assert "and 2 older runs, which the numbers above include" in text
    assert text.count("<td>run-") + text.count(">run-") >= MOST_RUNS


@pytest.fixture
def run(gemini_batch_stack, monkeypatch):
    monkeypatch.setattr(screen, "width", 200)
    monkeypatch.setattr(results, "width", 200)
    return lambda *arguments: CliRunner().invoke(app, ["costs", *map(str, arguments), "--project", PROJECT])


@pytest.fixture(params=["table", "bucket", "folder"])
def target(request, gemini_batch_stack, bucket, tmp_path):
    """A target with the ledger of RUNS, which happen today."""
    target = {
        "table": lambda: f"{make_dataset(gemini_batch_stack)}.texts",
        "bucket": lambda: f"gs://{bucket}/texts.parquet",
        "folder": lambda: f"{tmp_path}/texts.jsonl",
    }[request.param]()
    address = f"{target.removesuffix('.parquet').removesuffix('.jsonl')}__runs"
    address += "" if request.param == "table" else "/"
    ledger = ledger_of(
        address, lambda: storage_client(gemini_batch_stack), lambda: bigquery_client(gemini_batch_stack)
    )
    for one in (landed(1, 2.0, utc_now()), record(4, 4.0, dag_id="weekly", started=utc_now())):
        ledger.put(one)
    return target, ledger.address


def test_command_shows_costs_and_budgets(run, target):
    result = run(*target, "--budget", "8/month", "--budget", "1/day:team=maps")
    assert result.exit_code == 0, result.stderr
    told = re.sub(r" +", " ", result.stdout)
    for line in (
        "DAG runs jobs prompt tokens output tokens cost reserved",
        "weekly 1 0 0 0 unknown $4.00",
        "nightly 1 1 1,000 500 $2.00",
        "all 2 1 1,000 500 $2.00, without 1 run $4.00",
        "$8.00 a month",
        "$2.00 $4.00 $2.00 75%",
        "$1.00 a day for team=maps",
        "$0.00 $0.00 $1.00 0%",
    ):
        assert line in told


def test_command_prints_json(run, target):
    result = run(target[0], "--json", "--by", "dag", "--budget", "8/day", "--since", "all")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["ledgers"] == [target[1]]
    assert [(one["name"], one["cost_usd"], one["reserved_usd"]) for one in told["by"]["dag"]] == [
        ("weekly", None, 4.0),
        ("nightly", 2.0, 0.0),
    ]
    assert told["total"] == {
        "name": "all",
        "runs": 2,
        "jobs": 1,
        "tokens": {"prompt": 1000, "output": 500},
        "cost_usd": 2.0,
        "reserved_usd": 4.0,
        "unsettled": 1,
        "unestimated": 0,
        "unpriced": [],
    }
    (budget,) = told["budgets"]
    assert (budget["usd"], budget["spent_usd"], budget["reserved_usd"]) == (8.0, 2.0, 4.0)


def test_command_writes_a_page(run, target, tmp_path):
    file = tmp_path / "costs.html"
    result = run(target[0], "--html", file, "--budget", "8/month")
    assert result.exit_code == 0, result.stderr
    assert "costs.html" in result.stderr
    text = file.read_text()
    assert "$2.00, without 1 run" in text
    images = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', text)
    assert [bool(words(b64decode(image).decode())) for image in images] == [True, True, True]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["/nowhere/texts.jsonl"], 2, "/nowhere/texts.jsonl: there is no ledger of runs"),
        (["bq://nowhere"], 2, "'bq://nowhere__runs' is incomplete"),
        (["FOLDER", "--by", "week"], 2, "--by: 'week' is not one of dag, model"),
        (["FOLDER", "--budget", "8"], 2, "--budget: '8' is not a budget such as 100/month"),
        (["FOLDER", "--since", "soon"], 2, "--since: 'soon' is not a time"),
        (["FOLDER", "--html", "/nowhere/costs.html"], 2, "Could not write /nowhere/costs.html: No such file"),
        (
            ["gs://no-such-bucket-1/texts.jsonl"],
            3,
            "the ledger of runs gs://no-such-bucket-1/texts__runs/ could",
        ),
        (["BROKEN"], 3, "so it is not known what was spent"),
    ],
)
def test_command_tells_what_is_wrong(run, tmp_path, arguments, exit_code, told):
    ledgers = {name: tmp_path / name for name in ("FOLDER", "BROKEN")}
    ledger_of(str(ledgers["FOLDER"]), lambda: None, lambda: None).put(record(1))
    ledgers["BROKEN"].mkdir()
    (ledgers["BROKEN"] / f"{'f' * 32}.json").write_text("{")
    result = run(*(ledgers.get(one, one) for one in arguments))
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert told in " ".join(result.stderr.split())


def test_local_ledger_needs_no_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    ledger_of(str(tmp_path), lambda: None, lambda: None).put(record(1))
    result = CliRunner().invoke(app, ["costs", str(tmp_path)])
    assert result.exit_code == 0, result.stderr
    assert "Nothing was spent since" in result.stderr or "nightly" in result.stdout


def test_nothing_was_spent(run, tmp_path):
    ledger_of(str(tmp_path), lambda: None, lambda: None).put(record(1, started=NOW - 900 * DAY))
    result = run(tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing was spent since" in result.stderr


def test_charts_have_to_be_installed(run, tmp_path, monkeypatch):
    monkeypatch.setattr("airflow_gemini_batch.cli.costs.command.find_spec", lambda _name: None)
    result = run(tmp_path, "--html", tmp_path / "costs.html")
    assert result.exit_code == 2
    assert "pip install 'airflow-gemini-batch[report]'" in result.stderr
