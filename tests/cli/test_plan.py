"""``gemini-batch plan``: why a DAG would ask rows, and what that costs, without building or paying anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from airflow_gemini_batch.cli import app
from airflow_gemini_batch.costs.estimate import CHARACTERS_PER_TOKEN
from airflow_gemini_batch.testing.dag_runs import prepare_database
from tests.operators.steps import BOOKS, MODEL, book, creates
from tests.support.requests_data import storage_client
from tests.support.tables import fill, make_dataset

DAG_FILE = """
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG
from airflow_gemini_batch import GeminiEnrichmentTaskGroup

with DAG("nightly", start_date=datetime(2026, 1, 1), schedule=None, params={{"style": "short"}}) as dag:
    for name in ("texts", "titles"):
        GeminiEnrichmentTaskGroup(
            group_id=name,
            source="{source}",
            target="{target}_" + name,
            key="isbn",
            prompt="On {{{{ ds }}}} {{{{ params.style }}}}: [[ title ]]",
            model="{model}",
            generation_config={{"maxOutputTokens": 100}},
        )
"""


@pytest.fixture
def dags(gemini_batch_stack, tmp_path) -> Path:
    prepare_database()
    dataset = make_dataset(gemini_batch_stack)
    source = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(number) for number in range(3)])
    folder = tmp_path / "dags"
    folder.mkdir()
    content = DAG_FILE.format(source=source, target=f"{dataset}.landed", model=MODEL)
    (folder / "nightly.py").write_text(content)
    return folder


def plan(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_plan_of_a_group_is_printed_and_nothing_is_written(gemini_batch_stack, dags, bucket) -> None:
    paid = creates(gemini_batch_stack)
    shown = plan("nightly", "texts", "--dags", dags)
    assert shown.exit_code == 0, shown.output
    assert "texts.build_requests: 3 rows of 3 would be asked" in shown.output
    (line,) = [line for line in shown.output.splitlines() if line.startswith("new ")]
    assert line.split()[:3] == ["new", "3", "3"]
    assert "titles" not in shown.output
    assert creates(gemini_batch_stack) == paid
    assert list(storage_client(gemini_batch_stack).list_blobs(bucket)) == []


def test_plan_of_all_groups_is_json(dags) -> None:
    shown = plan(
        "nightly", "--dags", dags, "--json", "--date", "2026-05-01", "--conf", '{"style": "a longer text"}'
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout.splitlines()[-1])
    assert [one["task"] for one in found] == ["texts.build_requests", "titles.build_requests"]
    (line,) = found[0]["plan"]
    assert (line["kind"], line["rows"], line["asked"]) == ("new", 3, 3)
    characters = 3 * len("On 2026-05-01 a longer text: Title 0")
    assert line["prompt_tokens"] == -(-characters // CHARACTERS_PER_TOKEN)
    assert line["cost_usd"] >= line["cost_usd_low"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weekly"], "There is no DAG 'weekly'. The DAGs are: nightly"),
        (
            ["nightly", "covers"],
            "The DAG nightly has no group 'covers' that builds requests. It has: texts, titles",
        ),
        (["nightly", "--conf", "{"], "--conf is not JSON"),
        (["nightly", "--conf", "[]"], "--conf has to be an object"),
    ],
)
def test_wrong_arguments_are_named(dags, arguments, message) -> None:
    shown = plan(*arguments, "--dags", dags)
    assert (shown.exit_code, message in shown.output) == (2, True), shown.output


def test_file_that_can_not_be_read_is_named(tmp_path) -> None:
    prepare_database()
    (tmp_path / "broken.py").write_text("from airflow import DAG\nraise ValueError('broken on purpose')\n")
    shown = plan("nightly", "--dags", tmp_path)
    assert shown.exit_code == 2
    assert "The DAGs are: none" in shown.output
    assert "broken on purpose" in shown.output


def test_source_of_another_task_is_known_in_a_run_only(tmp_path) -> None:
    prepare_database()
    (tmp_path / "later.py").write_text(
        """
from datetime import datetime
from airflow.providers.common.compat.sdk import DAG, task
from airflow_gemini_batch import GeminiEnrichmentTaskGroup

@task
def files():
    return ["a.csv"]

with DAG("later", start_date=datetime(2026, 1, 1), schedule=None):
    GeminiEnrichmentTaskGroup(
        source=files(), target="t.parquet", key="isbn", prompt="[[ title ]]", model="gemini-3.8-flash",
        requests="gs://bucket/requests",
    )
"""
    )
    shown = plan("later", "--dags", tmp_path)
    assert shown.exit_code == 2
    assert "source is the result of another task, which is known in a run only" in shown.output
