"""Airflow's own BigQuery triggers on the local server; its operators are in ``tests/clients/``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery, let_gcloud_aio_find_it
from tests.clients.run import execute

if TYPE_CHECKING:
    from airflow.models.baseoperator import BaseOperator

PROJECT = "demo-project"
CONNECTION = {"conn_type": "google_cloud_platform", "extra": {"is_anonymous": True, "project": PROJECT}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBigQuery]:
    with LocalBigQuery(tmp_path_factory.mktemp("bigquery")) as running:
        yield running


@pytest.fixture
def client(server: LocalBigQuery, monkeypatch: pytest.MonkeyPatch) -> Iterator[bigquery.Client]:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(CONNECTION))
    client = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    client.create_dataset("books")
    yield client
    client.delete_dataset("books", delete_contents=True)


def _insert(sql: str, **options: Any) -> BaseOperator:
    from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator

    query = {
        "query": sql,
        "useLegacySql": False,
        "queryParameters": [
            {"name": "title", "parameterType": {"type": "STRING"}, "parameterValue": {"value": "it's"}}
        ],
    }
    options = {"task_id": "insert", "project_id": PROJECT, "location": "us-central1", **options}
    return BigQueryInsertJobOperator(configuration={"query": query}, **options)


def test_insert_job_operator_finds_the_job_of_an_earlier_try(client: bigquery.Client) -> None:
    operator = _insert("SELECT @title AS title", job_id="nightly", force_rerun=False)
    execute(operator)
    again = _insert("SELECT @title AS title", job_id="nightly", force_rerun=False)
    with pytest.raises(Exception, match="already exists and is in DONE state"):
        execute(again)


@pytest.mark.parametrize(
    ("sql", "status"), [("SELECT @title AS title", "success"), ("SELECT * FROM books.missing", "error")]
)
async def test_insert_job_trigger(client: bigquery.Client, sql: str, status: str) -> None:
    from airflow.providers.google.cloud.triggers.bigquery import BigQueryInsertJobTrigger

    parameters = [bigquery.ScalarQueryParameter("title", "STRING", "x")]
    job = client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=parameters))
    trigger = BigQueryInsertJobTrigger(
        conn_id="google_cloud_default",
        job_id=job.job_id,
        project_id=PROJECT,
        location="us-central1",
        poll_interval=0.1,
    )
    event = await anext(trigger.run())
    assert event.payload["status"] == status


async def test_table_existence_trigger(client: bigquery.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.google.cloud.triggers.bigquery import BigQueryTableExistenceTrigger
    from gcloud.aio.bigquery import bigquery as gcloud_aio

    monkeypatch.setattr(gcloud_aio, "init_api_root", gcloud_aio.init_api_root)  # put back afterwards
    let_gcloud_aio_find_it()
    client.query("CREATE TABLE books.t AS SELECT 1 AS n").result()
    trigger = BigQueryTableExistenceTrigger(
        project_id=PROJECT,
        dataset_id="books",
        table_id="t",
        gcp_conn_id="google_cloud_default",
        hook_params={},
        poll_interval=0.1,
    )
    assert (await anext(trigger.run())).payload["status"] == "success"
