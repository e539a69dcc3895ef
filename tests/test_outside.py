"""The task groups of a DAG run without Airflow around them."""

from __future__ import annotations

import io
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from rich.console import Console

from airflow_gemini_batch import GeminiEnrichmentTaskGroup, TextEmbeddingTaskGroup, iter_responses, run_here
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
from airflow_gemini_batch.outside import GroupResult
from tests.operators.steps import MODEL, PROMPT, creates

ROWS = pa.table({"isbn": ["978-1", "978-2", "978-3"], "title": ["Emma", "Persuasion", "Büro"]})

AT_ONCE = Patience(before_create=())


def group(bucket: str, **changes: Any) -> None:
    GeminiEnrichmentTaskGroup(
        **{
            "group_id": "describe",
            "source": ROWS,
            "key": "isbn",
            "prompt": PROMPT,
            "model": MODEL,
            "response_schema": {"description": str},
            "target": f"gs://{bucket}/described.parquet",
            "submit_options": {"poll_interval": 0.05},
            **changes,
        }
    )


def described(
    bucket: str, run: str | None = None, shown: io.StringIO | None = None, **changes: Any
) -> tuple[GroupResult, str]:
    """Run the group; return its result, and what the screen has shown."""
    with DAG("books") as dag:
        group(bucket, **changes)
    screen = Console(file=shown or io.StringIO(), width=100)
    return run_here(dag, run=run, console=screen, patience=AT_ONCE)["describe"], screen.file.getvalue()  # type: ignore[attr-defined]


def test_rows_are_asked_and_land(gemini_batch_stack, bucket):
    result, shown = described(bucket)
    assert (result.built["requests"], result.landed["landed"]) == (3, 3)
    assert "3 rows landed" in shown
    answers = {
        answer.key: answer.value
        for answer in iter_responses(result.manifests, response_schema={"description": str})
    }
    assert answers.keys() == {"978-1", "978-2", "978-3"}


def test_second_call_asks_nothing(gemini_batch_stack, bucket):
    described(bucket)
    before = creates(gemini_batch_stack)
    assert described(bucket)[0].landed is None
    assert creates(gemini_batch_stack) == before


def test_several_jobs_are_waited_for_at_once(gemini_batch_stack, bucket):
    result, _ = described(bucket, shard_rows=1)
    assert (len(result.manifests), result.landed["landed"]) == (3, 3)


def test_call_that_died_finds_its_job(gemini_batch_stack, bucket, monkeypatch):
    from airflow_gemini_batch.jobs.runner import BatchRun

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    before = creates(gemini_batch_stack)
    with monkeypatch.context() as patched:
        patched.setattr(BatchRun, "wait", die)
        with pytest.raises(KeyboardInterrupt):
            described(bucket)
    assert described(bucket)[0].landed["landed"] == 3
    assert creates(gemini_batch_stack) == before + 1


def test_answers_of_the_other_jobs_land_when_one_has_failed(gemini_batch_stack, bucket):
    gemini_batch_stack.vertex.faults.plan("fail", times=1)
    shown = io.StringIO()
    with pytest.raises(Exception, match="1 of 3 submit tasks gave no result"):
        described(bucket, shown=shown, shard_rows=1)
    assert re.search(r"A job failed: .*batchPredictionJobs/", shown.getvalue(), re.DOTALL)
    assert described(bucket, run="again")[0].landed["landed"] == 1


def test_all_groups_of_a_dag_run(gemini_batch_stack, bucket):
    with DAG("books") as dag:
        group(bucket)
        TextEmbeddingTaskGroup(
            group_id="embed",
            source=ROWS,
            key="isbn",
            text="[[ title ]]",
            model="text-embedding-005",
            target=f"gs://{bucket}/vectors.parquet",
            submit_options={"poll_interval": 0.05},
        )
    results = run_here(dag, console=Console(file=io.StringIO()), patience=AT_ONCE)
    assert {name: result.landed["landed"] for name, result in results.items()} == {"describe": 3, "embed": 3}


def test_what_can_not_run_here_is_refused_before_anything_is_asked(bucket):
    with DAG("other", start_date=datetime(2026, 1, 1)) as other:
        group(bucket)
        BaseOperator(task_id="mail")
    with DAG("template") as template:
        group(bucket, target="gs://shop/{{ ds }}.parquet")
    with DAG("empty") as empty:
        pass
    for dag, words in [
        (other, "mail can't run outside Airflow"),
        (template, "is a template, which only Airflow renders"),
        (empty, "no task group of this package"),
    ]:
        with pytest.raises(InvalidRequestError, match=words):
            run_here(dag)


def test_example_of_the_documentation_runs(gemini_batch_stack, bucket, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[1] / "docs/how-to/outside.md").read_text(encoding="utf-8")
    script = re.search(r"```python\n(# script\.py\n.*?)```", page, re.DOTALL)[1]  # type: ignore[index]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SubmitBatchJobOperator, "patience", AT_ONCE)
    Path("products.csv").write_text("sku,title\nA1,Mug\nA2,Jar\n")
    exec(script.replace("gs://my-bucket", f"gs://{bucket}"), {})
    shown = capsys.readouterr().out
    assert shown.count("2 rows landed") == 1
    assert "'A1': {'description': " in shown.replace("\n", "")
