"""Airflow's own BigQuery operators, sensors and triggers on the local server."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery, let_gcloud_aio_find_it

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


def _execute(operator: BaseOperator) -> Any:
    run = mock.Mock(
        run_after=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    )
    instance = mock.Mock(try_number=1, task=operator)
    context = {
        "task": operator,
        "ti": instance,
        "task_instance": instance,
        "dag_run": run,
        "logical_date": run.run_after,
        "run_id": "scheduled__2026-01-01",
    }
    return operator.execute(context)


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


@pytest.mark.parametrize("deferrable", [False, True])
def test_insert_job_operator(client: bigquery.Client, deferrable: bool) -> None:
    job_id = _execute(_insert("CREATE TABLE books.t AS SELECT @title AS title", deferrable=deferrable))
    assert [row.title for row in client.list_rows("books.t")] == ["it's"]
    assert client.get_job(job_id).labels["airflow-task"] == "insert"


def test_insert_job_operator_finds_the_job_of_an_earlier_try(client: bigquery.Client) -> None:
    operator = _insert("SELECT @title AS title", job_id="nightly", force_rerun=False)
    _execute(operator)
    again = _insert("SELECT @title AS title", job_id="nightly", force_rerun=False)
    with pytest.raises(Exception, match="already exists and is in DONE state"):
        _execute(again)


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


def test_dataset_and_table_operators(client: bigquery.Client) -> None:
    from airflow.providers.google.cloud.operators.bigquery import (
        BigQueryCreateEmptyDatasetOperator,
        BigQueryCreateTableOperator,
    )

    for _ in range(2):
        _execute(
            BigQueryCreateEmptyDatasetOperator(
                task_id="dataset", dataset_id="made", location="europe-west4", if_exists="ignore"
            )
        )
    schema = {"fields": [{"name": "k", "type": "STRING", "mode": "REQUIRED"}]}
    _execute(
        BigQueryCreateTableOperator(
            task_id="table", dataset_id="made", table_id="t", table_resource={"schema": schema}
        )
    )
    assert client.get_dataset("made").location == "europe-west4"
    assert client.get_table("made.t").schema == [bigquery.SchemaField("k", "STRING", "REQUIRED")]
    client.delete_dataset("made", delete_contents=True)


def test_get_data_operator(client: bigquery.Client) -> None:
    from airflow.providers.google.cloud.operators.bigquery import BigQueryGetDataOperator

    client.query("CREATE TABLE books.t AS SELECT 1 AS n, 'x' AS k").result()
    assert _execute(BigQueryGetDataOperator(task_id="get", dataset_id="books", table_id="t")) == [("1", "x")]


def test_table_existence_sensor(client: bigquery.Client) -> None:
    from airflow.providers.google.cloud.sensors.bigquery import BigQueryTableExistenceSensor

    sensor = BigQueryTableExistenceSensor(
        task_id="sense", project_id=PROJECT, dataset_id="books", table_id="t"
    )
    assert not sensor.poke({})
    client.query("CREATE TABLE books.t AS SELECT 1 AS n").result()
    assert sensor.poke({})


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


def test_loads_objects_of_the_local_storage_server(
    client: bigquery.Client, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator
    from google.cloud import storage

    local = pytest.importorskip("airflow_gemini_batch.testing.gcs.server")
    with local.LocalCloudStorage(tmp_path_factory.mktemp("storage")) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        bucket = storage.Client(project=PROJECT, credentials=AnonymousCredentials()).create_bucket("shelf")
        for name in ("in/1.jsonl", "in/2.jsonl", "other.jsonl"):
            bucket.blob(name).upload_from_file(io.BytesIO(f'{{"name": "{name}"}}\n'.encode()))
        _execute(
            GCSToBigQueryOperator(
                task_id="load",
                bucket="shelf",
                source_objects=["in/*.jsonl"],
                destination_project_dataset_table=f"{PROJECT}.books.loaded",
                source_format="NEWLINE_DELIMITED_JSON",
                autodetect=True,
                write_disposition="WRITE_TRUNCATE",
            )
        )
    assert sorted(row.name for row in client.list_rows("books.loaded")) == ["in/1.jsonl", "in/2.jsonl"]
