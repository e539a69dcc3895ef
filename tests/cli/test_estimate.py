"""gemini-batch estimate, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.cli.screen import screen
from tests.support.requests_data import request, upload

PRICES = "model,input,output,as_of\npro,1,6,2026-10\nembedding-x,2,0,2026-10\n"
FORTY = request("x" * 40, generationConfig={"maxOutputTokens": 5})


@pytest.fixture
def prices(tmp_path: Path) -> str:
    path = tmp_path / "prices.csv"
    path.write_text(PRICES)
    return str(path)


@pytest.fixture
def run(prices, monkeypatch):
    monkeypatch.setattr(screen, "width", 200)

    def run(file: str, *arguments: str, model: str = "pro"):
        return CliRunner().invoke(app, ["estimate", file, "--model", model, "--prices", prices, *arguments])

    return run


@pytest.fixture
def write(tmp_path):
    def write(rows: list[dict]) -> str:
        path = tmp_path / "requests.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_estimate_is_for_people(run, write):
    result = run(write([FORTY] * 1000))
    assert result.exit_code == 0
    assert result.stdout == ""
    for told in ("1,000", "10,000", "5,000", "$0.0400", "2026-10", "estimated from all rows"):
        assert told in result.stderr


def test_json_is_one_line(run, write):
    file = write([FORTY] * 1000)
    found = json.loads(run(file, "--json", "--sample", "10", "--max-cost-usd", "1").stdout)
    assert "estimated from 10 of 1,000 rows" in found.pop("basis")
    cost = {"amount": 0.04, "currency": "USD", "rates_as_of": "2026-10", "unpriced": []}
    assert found == {
        "model": "pro",
        "rows": 1000,
        "prompt_tokens": 10_000,
        "output_tokens_low": 5000,
        "output_tokens": 5000,
        "cost_low": cost,
        "cost": cost,
        "file": file,
        "sampled": 10,
        "complete": False,
        "max_cost_usd": 1.0,
    }


def test_more_than_the_ceiling_ends_with_1(run, write):
    file = write([FORTY] * 1000)
    assert run(file, "--max-cost-usd", "0.04").exit_code == 0
    result = run(file, "--max-cost-usd", "0.03", "--json")
    assert result.exit_code == 1
    assert "more than max_cost_usd=$0.0300" in result.stderr
    assert json.loads(result.stdout)["cost"]["amount"] == 0.04


def test_interval_is_told_where_nothing_limits_the_answers(run, write):
    result = run(write([request("x" * 40)] * 1000), "--max-cost-usd", "10")
    assert result.exit_code == 1
    for told in ("300,000 to 5,000,000", "$1.81 to $30.01", "since nothing limits it"):
        assert told in result.stderr
    assert "would cost about $1.81 to $30.01 at batch rates of 2026-10, more than" in result.stderr


def test_model_without_a_rate_has_tokens_and_no_error_without_a_ceiling(run, write):
    result = run(write([FORTY]), model="gemini-99-ultra")
    assert result.exit_code == 0
    assert "unknown" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        ([], 1, "set unpriced='allow' to run without the check"),
        (["--unpriced", "refuse"], 1, "--prices on the command line"),
        (["--unpriced", "allow"], 0, "can't be checked: there is no batch rate for gemini-99-ultra"),
        (["--unpriced", "perhaps"], 2, "is not refuse or allow"),
    ],
)
def test_ceiling_for_a_model_without_a_rate(run, write, arguments, exit_code, told):
    result = run(write([FORTY]), "--max-cost-usd", "1", *arguments, model="gemini-99-ultra")
    assert (result.exit_code, told in result.stderr) == (exit_code, True)


def test_location_may_cost_more(run, write):
    def cost(*arguments: str) -> float:
        result = run(write([FORTY] * 1000), "--json", *arguments, model="gemini-3.8-flash")
        return json.loads(result.stdout)["cost"]["amount"]

    assert cost() == cost("--location", "global")
    assert cost("--location", "us-central1") == pytest.approx(1.1 * cost())


def test_model_decides_what_a_request_is(run, write):
    file = write([{"content": "x" * 40}])
    assert json.loads(run(file, "--json", model="text-embedding-005").stdout)["output_tokens"] == 0
    result = run(file, model="embedding-x")
    assert (result.exit_code, "Set --format" in result.stderr) == (2, True)
    assert run(file, "--format", "text_embedding", model="embedding-x").exit_code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "contains no requests"), ("\n\n", "contains no requests"), ("oops\n", "is a request for pro")],
)
def test_unusable_file_ends_with_2(run, tmp_path, content, message):
    (tmp_path / "bad.jsonl").write_text(content)
    result = run(str(tmp_path / "bad.jsonl"))
    assert (result.exit_code, message in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prices", "/nowhere.csv"], "the price file /nowhere.csv can't be read"),
        (["--model", "models/pro"], "write 'pro'"),
        (["--sample", "0"], "--sample"),
        (["--max-cost-usd", "-1"], "--max-cost-usd"),
    ],
)
def test_unusable_option_ends_with_2(run, write, arguments, message):
    result = run(write([FORTY]), *arguments)
    assert (result.exit_code, message in result.stderr) == (2, True)


def test_missing_file_ends_with_2(run):
    result = run("/nowhere/requests.jsonl")
    assert (result.exit_code, "Could not read" in result.stderr) == (2, True)


def test_file_on_cloud_storage_is_read(run, gemini_batch_stack, bucket):
    file = upload(gemini_batch_stack, bucket, "requests.jsonl", [FORTY] * 3)
    assert json.loads(run(file, "--json").stdout)["rows"] == 3
