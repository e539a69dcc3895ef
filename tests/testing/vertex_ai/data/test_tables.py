"""Input from and output to BigQuery, through the real client."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery as bq

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.testing.vertex_ai.data.row import Column, OutputRow
from airflow_gemini_batch.testing.vertex_ai.data.tables import TableSink
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import PROJECT, VertexCaller, job_body, prompt, prompts, short
from tests.testing.vertex_ai.jobs.test_filter import JOB

SHOP = f"{PROJECT}.shop"


@pytest.fixture
def call(
    start_vertex: Callable[..., LocalVertex], bigquery_server: LocalBigQuery, bigquery: bq.Client
) -> Iterator[VertexCaller]:
    with VertexCaller(start_vertex(bigquery_url=bigquery_server.url).url) as caller:
        yield caller


@pytest.fixture
def table(request: pytest.FixtureRequest) -> str:
    """A table name of the running test's own."""
    return request.node.name.translate(str.maketrans("[]-:<> ,", "________"))


def _fill(client: bq.Client, name: str, columns: dict[str, str], rows: list[dict[str, Any]]) -> str:
    schema = [bq.SchemaField(column, *kind.split()) for column, kind in columns.items()]
    client.create_table(bq.Table(name, schema=schema))
    if rows:
        client.load_table_from_json(rows, name, job_config=bq.LoadJobConfig(schema=schema)).result()
    return f"bq://{name}"


def _columns(client: bq.Client, name: str) -> dict[str, str]:
    return {field.name: field.field_type for field in client.get_table(name).schema}


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
def test_passes_columns_through_to_the_output_table(
    call: VertexCaller, bigquery: bq.Client, table: str, kind: str
) -> None:
    requests = [line["request"] for line in [prompt("One?"), prompt("Two?", contents=[])]]
    rows = [
        {
            "id": number,
            "sold": "2024-02-29",
            "price": "9.99",
            "seen": "2024-02-29T12:00:00+00:00",
            "note": None,
            "request": request if kind == "JSON" else json.dumps(request),
        }
        for number, request in enumerate(requests)
    ]
    columns = {"id": "INT64", "sold": "DATE", "price": "NUMERIC", "seen": "TIMESTAMP", "note": "STRING"}
    source = _fill(bigquery, f"{SHOP}.{table}", {**columns, "request": kind}, rows)

    job = call.run(job_body(source, f"bq://{SHOP}.{table}_out"))

    assert job["state"] == "JOB_STATE_SUCCEEDED", job.get("error")
    assert job["outputInfo"] == {
        "bigqueryOutputDataset": f"bq://{SHOP}",
        "bigqueryOutputTable": f"{table}_out",
    }
    assert job["completionStats"] == {"successfulCount": "1", "failedCount": "1"}
    assert _columns(bigquery, f"{SHOP}.{table}_out") == _columns(bigquery, f"{SHOP}.{table}") | {
        "response": "JSON",
        "status": "STRING",
        "processed_time": "TIMESTAMP",
    }
    good, bad = sorted(bigquery.list_rows(f"{SHOP}.{table}_out"), key=lambda row: row["id"])
    assert (good["id"], good["sold"], good["price"], good["note"]) == (
        0,
        dt.date(2024, 2, 29),
        Decimal("9.99"),
        None,
    )
    assert good["seen"] == dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
    assert good["status"] == ""
    assert "One?" in good["response"]["candidates"][0]["content"]["parts"][0]["text"]
    request = json.loads(good["request"]) if kind == "STRING" else good["request"]
    assert request["contents"][0]["parts"][0]["text"] == "One?"
    assert bad["status"].startswith('Bad Request: {"error": {"code": 400')
    assert good["processed_time"].tzinfo is not None


def test_writes_requests_as_text_where_they_were_text() -> None:
    columns = [Column("request", "STRING"), Column("response", "JSON")]
    sink = TableSink(JOB, BigQueryAddress.parse(f"bq://{SHOP}.out"), columns, clients=None, location=None)
    answer = OutputRow(line={}, cells={"request": {"contents": []}, "response": {}})
    assert sink.shape({"id": 1}, answer) == {"id": 1, "request": '{"contents":[]}', "response": {}}


def test_makes_a_table_when_a_dataset_is_given(
    call: VertexCaller, bigquery: bq.Client, folder: Folder
) -> None:
    job = call.run(job_body(folder.write(prompts(2)), f"bq://{SHOP}"))

    name = job["outputInfo"]["bigqueryOutputTable"]
    assert name.startswith("predictions_2")
    assert _columns(bigquery, f"{SHOP}.{name}") == {
        "request": "JSON",
        "response": "JSON",
        "status": "STRING",
        "processed_time": "TIMESTAMP",
    }
    keys = {row["request"]["labels"]["key"] for row in bigquery.list_rows(f"{SHOP}.{name}")}
    assert keys == {"k0", "k1"}


def test_writes_table_rows_to_files(
    call: VertexCaller, bigquery: bq.Client, folder: Folder, table: str
) -> None:
    rows = [{"isbn": f"978-{number}", "request": line["request"]} for number, line in enumerate(prompts(3))]
    source = _fill(bigquery, f"{SHOP}.{table}", {"isbn": "STRING", "request": "JSON"}, rows)

    job = call.run(job_body(source, folder.uri("out")))

    lines = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    assert {line["isbn"]: line["request"]["labels"]["key"] for line in lines} == {
        "978-0": "k0",
        "978-1": "k1",
        "978-2": "k2",
    }
    assert all(line["status"] == "" and line["response"]["candidates"] for line in lines)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": "STRING"}, "there is no column 'request'"),
        ({"request": "INT64"}, "column 'request' is INT(64|EGER), not JSON or STRING"),
        ({"request": "JSON", "response": "STRING"}, "column 'response' .* reserved name"),
        ({"request": "JSON", "status": "STRING"}, "column 'status' .* reserved name"),
        ({"request": "JSON", "tags": "STRING REPEATED"}, "column 'tags' .* unsupported type ARRAY"),
        ({"request": "JSON", "sold": "DATETIME"}, "column 'sold' .* unsupported type DATETIME"),
        ({"request": "JSON"}, "The input holds no rows"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_fails_a_job_whose_table_does_not_fit(
    call: VertexCaller,
    bigquery: bq.Client,
    folder: Folder,
    table: str,
    columns: dict[str, str],
    message: str,
) -> None:
    job = call.run(job_body(_fill(bigquery, f"{SHOP}.{table}", columns, []), folder.uri("out")))

    assert job["state"] == "JOB_STATE_FAILED"
    assert job["error"]["code"] == 3
    assert re.match(rf"Failed to import data\. .*{message}", job["error"]["message"])
    assert "outputInfo" not in job


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            f"{SHOP}.not_there",
            5,
            f"Not found: Table {PROJECT}:shop.not_there was not found in location us-central1",
        ),
        (
            f"{PROJECT}.shop_in_europe.books",
            3,
            f"Not found: Dataset {PROJECT}:shop_in_europe was not found in location us-central1 at [2:1]",
        ),
        (f"{PROJECT}.shop_anywhere.books", 3, "was not found in location us-central1 at [2:1]"),
    ],
)
def test_fails_a_job_whose_table_is_elsewhere(
    call: VertexCaller, bigquery: bq.Client, folder: Folder, name: str, code: int, message: str
) -> None:
    if not name.endswith("not_there"):
        bigquery.create_table(bq.Table(name, schema=[bq.SchemaField("request", "JSON")]))
    job = call.run(job_body(f"bq://{name}", folder.uri("out")))
    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_FAILED", code)
    assert message in job["error"]["message"]


def test_fails_a_job_over_a_view(call: VertexCaller, bigquery: bq.Client, folder: Folder, table: str) -> None:
    view = bq.Table(f"{SHOP}.{table}")
    view.view_query = "SELECT JSON '{}' AS request"
    bigquery.create_table(view)
    job = call.run(job_body(f"bq://{SHOP}.{table}", folder.uri("out")))
    assert "_vertex_row_id" in job["error"]["message"]


@pytest.mark.parametrize(
    ("destination", "status", "message"),
    [
        (f"bq://{PROJECT}.no_shop.out", "NOT_FOUND", "Dataset demo-project:no_shop was not found"),
        (f"bq://{PROJECT}.shop_in_europe.out", "FAILED_PRECONDITION", "is in location `europe-west4`"),
        (f"bq://{PROJECT}.shop_anywhere", "FAILED_PRECONDITION", "is in location `us`"),
        (f"bq://{SHOP}.taken", "INVALID_ARGUMENT", "already exists"),
    ],
)
def test_refuses_a_destination_at_once(
    call: VertexCaller, bigquery: bq.Client, folder: Folder, destination: str, status: str, message: str
) -> None:
    bigquery.create_table(bq.Table(f"{SHOP}.taken", schema=[bq.SchemaField("a", "STRING")]), exists_ok=True)
    error = call.send("POST", call.jobs, json=job_body(folder.uri("in.jsonl"), destination)).json()["error"]
    assert error["status"] == status
    assert message in error["message"]


def test_global_reads_and_writes_anywhere(call: VertexCaller, bigquery: bq.Client, table: str) -> None:
    rows = [{"request": prompt("Where?")["request"]}]
    source = _fill(bigquery, f"{PROJECT}.shop_anywhere.{table}", {"request": "JSON"}, rows)
    elsewhere = VertexCaller(call.url, location="global")
    job = elsewhere.run(job_body(source, f"bq://{PROJECT}.shop_in_europe.{table}"))
    assert job["state"] == "JOB_STATE_SUCCEEDED", job.get("error")
    assert len(list(bigquery.list_rows(f"{PROJECT}.shop_in_europe.{table}"))) == 1


def test_names_the_whole_address_on_request(call: VertexCaller, folder: Folder, table: str) -> None:
    call.control("POST", "faults", json={"name": "full_table_address"})
    job = call.run(job_body(folder.write(prompts(1)), f"bq://{SHOP}.{table}"))
    assert job["outputInfo"]["bigqueryOutputTable"] == f"bq://{SHOP}.{table}"


def test_fills_a_table_while_it_runs(
    call: VertexCaller, bigquery: bq.Client, folder: Folder, table: str
) -> None:
    call.control("POST", "faults", json={"name": "slow_export", "parameters": {"parts": 2, "seconds": 0.6}})
    job = call.create(job_body(folder.write(prompts(10)), f"bq://{SHOP}.{table}"))
    seen = set()
    while call.get(short(job))["state"] != "JOB_STATE_SUCCEEDED":
        with contextlib.suppress(NotFound):
            seen.add(len(list(bigquery.list_rows(f"{SHOP}.{table}"))))
        time.sleep(0.05)
    assert 5 in seen
    assert len(list(bigquery.list_rows(f"{SHOP}.{table}"))) == 10


def test_loses_a_table(call: VertexCaller, bigquery: bq.Client, folder: Folder, table: str) -> None:
    call.control("POST", "faults", json={"name": "lose_output"})
    job = call.run(job_body(folder.write(prompts(1)), f"bq://{SHOP}.{table}"))
    assert job["outputInfo"]["bigqueryOutputTable"] == table
    with pytest.raises(NotFound):
        bigquery.get_table(f"{SHOP}.{table}")


def test_makes_a_dataset_in_a_project(
    call: VertexCaller, bigquery: bq.Client, table: str, folder: Folder
) -> None:
    job = call.run(job_body(folder.write([prompt("One?")]), f"bq://{PROJECT}"))
    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    assert job["outputConfig"]["bigqueryDestination"] == {"outputUri": f"bq://{PROJECT}"}
    dataset = job["outputInfo"]["bigqueryOutputDataset"].removeprefix("bq://")
    assert re.fullmatch(
        rf"{PROJECT}\.prediction_gemini_3_8_flash_\d{{4}}_\d\d_\d\dT\d\d_\d\d_\d\d_\d+Z", dataset
    )
    assert bigquery.get_dataset(dataset).location == "us-central1"
    assert job["outputInfo"]["bigqueryOutputTable"] == "predictions"
    assert bigquery.get_table(f"{dataset}.predictions").num_rows == 1
