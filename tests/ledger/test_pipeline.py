"""A task group and its ledger: what a run costs, and a budget that refuses the next one."""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import Budget, GeminiEnrichmentTaskGroup
from airflow_gemini_batch.ledger.addresses import ledger_address
from airflow_gemini_batch.ledger.record import LANDED, REFUSED
from airflow_gemini_batch.testing.dag_runs import run_dag
from tests.operators.steps import MODEL, PROMPT, book, creates
from tests.support.tables import make_dataset


@pytest.mark.parametrize("name", ["DATASET.texts", "FOLDER/texts.jsonl"])
def test_runs_of_a_group_are_in_its_ledger(gemini_batch_stack, bucket, tmp_path, open_ledger, dataset, name):
    target = name.replace("DATASET", dataset).replace("FOLDER", str(tmp_path))
    books = [book(1), book(2)]

    def run(budget):
        with DAG("books", start_date=datetime(2026, 1, 1), schedule=None) as dag:
            GeminiEnrichmentTaskGroup(
                source=books,
                key="isbn",
                prompt=PROMPT,
                model=MODEL,
                requests=f"gs://{bucket}/requests",
                target=target,
                labels={"team": "search"},
                budgets=[Budget(usd=budget)],
                generation_config={"maxOutputTokens": 100},
                submit_options={"poll_interval": 0.05},
            )
        return run_dag(dag, group="enrich")

    ledger = open_ledger(ledger_address(target))
    ended = run(5)
    (landed,) = ledger.records()
    (manifest,) = ended.results["submit"]
    assert (landed.state, landed.cost_usd) == (LANDED, manifest["cost"]["amount"])
    assert landed.outcomes == manifest["counts"] | {"ok": 2}
    assert landed.jobs == [round_["job_name"] for round_ in manifest["rounds"]]
    assert landed.expected_usd >= landed.cost_usd > 0
    assert landed.labels == {"team": "search"}
    books.append(book(3))
    before = creates(gemini_batch_stack)
    assert run(landed.cost_usd).states["build_requests"] == ["failed"]
    assert creates(gemini_batch_stack) == before
    first, refused = ledger.records()
    assert (first, refused.state, refused.cost_usd) == (landed, REFUSED, 0)
    # With nothing to ask, a budget that is used up stops nothing.
    books.pop()
    assert run(0).states["build_requests"] == ["success"]
    assert [one.cost_usd for one in ledger.records()] == [landed.cost_usd, 0, 0]


@pytest.fixture
def dataset(gemini_batch_stack) -> str:

    return make_dataset(gemini_batch_stack)
