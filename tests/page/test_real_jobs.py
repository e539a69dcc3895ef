"""Jobs of the local Vertex AI on the page: what real tasks leave, and what a job under way says."""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.testing.dag_runs import run_dag
from tests.operators.steps import MODEL, book, built
from tests.page.stored import store
from tests.page.test_pages import JOBS, text
from tests.support.jobs import seed
from tests.task_groups.test_enrichment import upload_csv


def test_what_a_task_has_left_is_shown(viewer, gemini_batch_stack, bucket):
    source = upload_csv(gemini_batch_stack, bucket, [book(1), book(2)])
    (requests,) = built(source, requests=f"gs://{bucket}/requests")
    with DAG("books", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        SubmitGeminiBatchOperator.partial(task_id="submit", model=MODEL, poll_interval=0.05).expand(
            requests=[requests, requests]
        )
    assert run_dag(dag).state == "success"
    shown = text(viewer.get(JOBS))
    assert shown.count("success Vertex AI: SUCCEEDED") == 2
    assert shown.count("2 ok") == 2
    assert "submit [0] books" in shown
    assert "submit [1] books" in shown
    assert "$" in shown


@pytest.mark.parametrize("answers", [True, False], ids=["answers", "does-not-answer"])
def test_job_under_way_is_read_with_the_connection_of_its_task(
    viewer, gemini_batch_stack, monkeypatch, answers
):
    from airflow_gemini_batch.page import app
    from airflow_gemini_batch.page.under_way import JobReader, read_jobs

    monkeypatch.setattr(app, "_reader", JobReader(read_jobs, patience=20.0))
    connection = gemini_batch_stack.environment()["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"]
    monkeypatch.setenv("AIRFLOW_CONN_MY_CONNECTION", connection)
    (name,) = seed(gemini_batch_stack.vertex, run_seconds=60.0)
    store(state="deferred", waits_for=str(name if answers else name.sibling("0")))
    shown = text(viewer.get(JOBS))
    assert ("deferred Vertex AI: unknown" in shown) is not answers
    assert ("running for" in shown or "queued for" in shown) is answers
