"""Airflow's own BigQuery operators and sensors, as they are, on the local servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.providers.google.cloud.operators import bigquery as operators
from airflow.providers.google.cloud.sensors import bigquery as sensors
from airflow.providers.google.cloud.transfers.bigquery_to_bigquery import BigQueryToBigQueryOperator
from airflow.providers.google.cloud.transfers.bigquery_to_gcs import BigQueryToGCSOperator
from airflow.providers.google.cloud.transfers.gcs_to_bigquery import GCSToBigQueryOperator

from airflow_gemini_batch.testing import LOCATION, PROJECT
from tests.clients.run import execute

if TYPE_CHECKING:
    from airflow_gemini_batch.testing import LocalStack

pytestmark = pytest.mark.filterwarnings("ignore")


class Place:
    """A dataset with the table ``books``, two rows, and a bucket with the same rows as files."""

    def __init__(self, stack: LocalStack, bucket: str) -> None:
        self.stack, self.bucket = stack, bucket
        self.dataset = f"ds_{uuid.uuid4().hex[:8]}"
        self.client = BigQueryHook(
            gcp_conn_id="google_cloud_default", use_legacy_sql=False, location=LOCATION
        ).get_client(PROJECT)
        self.client.create_dataset(self.dataset)
        self.sql(
            "CREATE TABLE {ds}.books PARTITION BY day AS "
            "SELECT 'a' AS isbn, 1 AS pages, DATE '2026-01-01' AS day UNION ALL SELECT 'b', 2, DATE '2026-01-02'"
        )
        self.write("books.csv", "isbn,pages\na,1\nb,2\n")
        self.write("books.jsonl", '{"isbn": "a", "pages": 1}\n{"isbn": "b", "pages": 2}\n')

    @property
    def books(self) -> str:
        return f"{PROJECT}.{self.dataset}.books"

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        rows = self.client.query(text.replace("{ds}", self.dataset), job_retry=None).result(job_retry=None)
        return [tuple(row.values()) for row in rows]

    def write(self, name: str, content: str) -> None:
        _storage().bucket(self.bucket).blob(name).upload_from_string(content)

    def read(self, prefix: str) -> str:
        return "".join(blob.download_as_text() for blob in _storage().list_blobs(self.bucket, prefix=prefix))


def _storage() -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    return storage.Client(project=PROJECT, credentials=AnonymousCredentials())


@pytest.fixture
def place(gemini_batch_stack: LocalStack, bucket: str) -> Place:
    return Place(gemini_batch_stack, bucket)


SQL = {"use_legacy_sql": False, "location": LOCATION}
COLUMNS = [
    {"name": "isbn", "type": "STRING", "mode": "NULLABLE"},
    {"name": "pages", "type": "INTEGER", "mode": "NULLABLE"},
]


def _job(place: Place, sql: str, **options: Any) -> Any:
    query = {"query": sql.replace("{ds}", place.dataset), "useLegacySql": False}
    return operators.BigQueryInsertJobOperator(
        task_id="t", configuration={"query": query}, project_id=PROJECT, location=LOCATION, **options
    )


def _loaded(**options: Any) -> Callable[[Place], Any]:
    def make(place: Place) -> Any:
        table = f"{PROJECT}.{place.dataset}.loaded"
        return GCSToBigQueryOperator(
            task_id="t", bucket=place.bucket, destination_project_dataset_table=table, **options
        )

    return make


def _count(table: str, rows: int) -> Callable[[Place, Any], None]:
    return lambda place, _: _equal(place.sql(f"SELECT COUNT(*) FROM {{ds}}.{table}"), [(rows,)])


def _equal(found: Any, expected: Any) -> None:
    assert found == expected


def _nothing(place: Place, result: Any) -> None:
    pass


def _isbns(place: Place, _: Any) -> None:
    assert place.sql("SELECT isbn, pages FROM {ds}.loaded ORDER BY 1") == [("a", 1), ("b", 2)]


# What is called → the operator, and what has to be true afterwards.
CASES: dict[str, tuple[Callable[[Place], Any], Callable[[Place, Any], None]]] = {
    "BigQueryInsertJobOperator": (
        lambda p: _job(p, "CREATE TABLE {ds}.made AS SELECT 1 AS n"),
        _count("made", 1),
    ),
    "BigQueryInsertJobOperator(deferrable=True)": (
        lambda p: _job(p, "CREATE TABLE {ds}.made AS SELECT 1 AS n", deferrable=True),
        _count("made", 1),
    ),
    "BigQueryInsertJobOperator(copy)": (
        lambda p: operators.BigQueryInsertJobOperator(
            task_id="t",
            project_id=PROJECT,
            location=LOCATION,
            configuration={
                "copy": {
                    "sourceTable": {"projectId": PROJECT, "datasetId": p.dataset, "tableId": "books"},
                    "destinationTable": {"projectId": PROJECT, "datasetId": p.dataset, "tableId": "copied"},
                }
            },
        ),
        _count("copied", 2),
    ),
    "BigQueryCheckOperator": (
        lambda p: operators.BigQueryCheckOperator(task_id="t", sql=f"SELECT COUNT(*) FROM {p.books}", **SQL),
        _nothing,
    ),
    "BigQueryCheckOperator(deferrable=True)": (
        lambda p: operators.BigQueryCheckOperator(
            task_id="t", sql=f"SELECT COUNT(*) FROM {p.books}", deferrable=True, **SQL
        ),
        _nothing,
    ),
    "BigQueryValueCheckOperator": (
        lambda p: operators.BigQueryValueCheckOperator(
            task_id="t", sql=f"SELECT SUM(pages) FROM `{p.books}`", pass_value=3, **SQL
        ),
        _nothing,
    ),
    "BigQueryIntervalCheckOperator": (
        lambda p: operators.BigQueryIntervalCheckOperator(
            task_id="t",
            table=p.books,
            days_back=-1,
            date_filter_column="day",
            metrics_thresholds={"COUNT(*)": 1.5},
            **SQL,
        ),
        _nothing,
    ),
    "BigQueryColumnCheckOperator": (
        lambda p: operators.BigQueryColumnCheckOperator(
            task_id="t",
            table=p.books,
            column_mapping={"isbn": {"null_check": {"equal_to": 0}, "unique_check": {"equal_to": 0}}},
            **SQL,
        ),
        _nothing,
    ),
    "BigQueryTableCheckOperator": (
        lambda p: operators.BigQueryTableCheckOperator(
            task_id="t", table=p.books, checks={"row_count": {"check_statement": "COUNT(*) = 2"}}, **SQL
        ),
        _nothing,
    ),
    "BigQueryGetDataOperator": (
        lambda p: operators.BigQueryGetDataOperator(
            task_id="t",
            dataset_id=p.dataset,
            table_id="books",
            selected_fields="isbn,pages",
            use_legacy_sql=False,
        ),
        lambda _, rows: _equal(sorted(map(list, rows)), [["a", "1"], ["b", "2"]]),
    ),
    "BigQueryCreateTableOperator": (
        lambda p: operators.BigQueryCreateTableOperator(
            task_id="t",
            dataset_id=p.dataset,
            table_id="made",
            project_id=PROJECT,
            table_resource={"schema": {"fields": COLUMNS}},
        ),
        _count("made", 0),
    ),
    "BigQueryCreateEmptyDatasetOperator": (
        lambda p: operators.BigQueryCreateEmptyDatasetOperator(
            task_id="t", dataset_id=f"{p.dataset}_2", project_id=PROJECT, location=LOCATION
        ),
        lambda p, _: _equal(p.client.get_dataset(f"{p.dataset}_2").location, LOCATION),
    ),
    "BigQueryGetDatasetOperator": (
        lambda p: operators.BigQueryGetDatasetOperator(task_id="t", dataset_id=p.dataset, project_id=PROJECT),
        lambda p, found: _equal(found["datasetReference"]["datasetId"], p.dataset),
    ),
    "BigQueryGetDatasetTablesOperator": (
        lambda p: operators.BigQueryGetDatasetTablesOperator(
            task_id="t", dataset_id=p.dataset, project_id=PROJECT
        ),
        lambda p, found: _equal([table["tableId"] for table in found], ["books"]),
    ),
    "BigQueryUpdateDatasetOperator": (
        lambda p: operators.BigQueryUpdateDatasetOperator(
            task_id="t",
            dataset_id=p.dataset,
            project_id=PROJECT,
            fields=["description"],
            dataset_resource={"description": "Books"},
        ),
        lambda p, _: _equal(p.client.get_dataset(p.dataset).description, "Books"),
    ),
    "BigQueryUpdateTableOperator": (
        lambda p: operators.BigQueryUpdateTableOperator(
            task_id="t",
            dataset_id=p.dataset,
            table_id="books",
            project_id=PROJECT,
            fields=["description"],
            table_resource={"description": "Books"},
        ),
        lambda p, _: _equal(p.client.get_table(p.books).description, "Books"),
    ),
    "BigQueryUpdateTableSchemaOperator": (
        lambda p: operators.BigQueryUpdateTableSchemaOperator(
            task_id="t",
            dataset_id=p.dataset,
            table_id="books",
            project_id=PROJECT,
            schema_fields_updates=[{"name": "pages", "description": "How many"}],
        ),
        lambda p, _: _equal(p.client.get_table(p.books).schema[1].description, "How many"),
    ),
    "BigQueryUpsertTableOperator": (
        lambda p: operators.BigQueryUpsertTableOperator(
            task_id="t",
            dataset_id=p.dataset,
            project_id=PROJECT,
            table_resource={"tableReference": {"tableId": "made"}, "schema": {"fields": COLUMNS}},
        ),
        _count("made", 0),
    ),
    "BigQueryDeleteTableOperator": (
        lambda p: operators.BigQueryDeleteTableOperator(task_id="t", deletion_dataset_table=p.books),
        lambda p, _: _equal(list(p.client.list_tables(p.dataset)), []),
    ),
    "BigQueryDeleteDatasetOperator": (
        lambda p: operators.BigQueryDeleteDatasetOperator(
            task_id="t", dataset_id=p.dataset, project_id=PROJECT, delete_contents=True
        ),
        lambda p, _: _equal(p.dataset in [each.dataset_id for each in p.client.list_datasets()], False),
    ),
    "BigQueryTableExistenceSensor": (
        lambda p: sensors.BigQueryTableExistenceSensor(
            task_id="t",
            project_id=PROJECT,
            dataset_id=p.dataset,
            table_id="books",
            timeout=5,
            poke_interval=0.1,
        ),
        _nothing,
    ),
    "BigQueryTableExistenceSensor(deferrable=True)": (
        lambda p: sensors.BigQueryTableExistenceSensor(
            task_id="t",
            project_id=PROJECT,
            dataset_id=p.dataset,
            table_id="books",
            timeout=5,
            deferrable=True,
        ),
        _nothing,
    ),
    "BigQueryTablePartitionExistenceSensor": (
        lambda p: sensors.BigQueryTablePartitionExistenceSensor(
            task_id="t",
            project_id=PROJECT,
            dataset_id=p.dataset,
            table_id="books",
            partition_id="20260101",
            timeout=2,
            poke_interval=0.1,
        ),
        _nothing,
    ),
    "GCSToBigQueryOperator(CSV, as it comes)": (
        _loaded(source_objects=["books.csv"], schema_fields=COLUMNS, skip_leading_rows=1),
        _isbns,
    ),
    "GCSToBigQueryOperator(CSV, autodetect)": (
        _loaded(source_objects=["*.csv"], autodetect=True, skip_leading_rows=1),
        _isbns,
    ),
    "GCSToBigQueryOperator(JSON)": (
        _loaded(source_objects=["books.jsonl"], source_format="NEWLINE_DELIMITED_JSON", autodetect=True),
        _isbns,
    ),
    "BigQueryToGCSOperator(CSV)": (
        lambda p: BigQueryToGCSOperator(
            task_id="t",
            source_project_dataset_table=p.books,
            destination_cloud_storage_uris=[f"gs://{p.bucket}/out/books.csv"],
            location=LOCATION,
        ),
        lambda p, _: _equal(
            sorted(p.read("out/").splitlines()), ["a,1,2026-01-01", "b,2,2026-01-02", "isbn,pages,day"]
        ),
    ),
    "BigQueryToGCSOperator(JSON)": (
        lambda p: BigQueryToGCSOperator(
            task_id="t",
            source_project_dataset_table=p.books,
            destination_cloud_storage_uris=[f"gs://{p.bucket}/out/books-*.json"],
            export_format="NEWLINE_DELIMITED_JSON",
            location=LOCATION,
        ),
        lambda p, _: _equal(
            sorted(p.read("out/").splitlines()),
            ['{"isbn":"a","pages":"1","day":"2026-01-01"}', '{"isbn":"b","pages":"2","day":"2026-01-02"}'],
        ),
    ),
    "BigQueryToBigQueryOperator": (
        lambda p: BigQueryToBigQueryOperator(
            task_id="t",
            source_project_dataset_tables=p.books,
            destination_project_dataset_table=f"{PROJECT}.{p.dataset}.copied",
            location=LOCATION,
        ),
        _count("copied", 2),
    ),
}


@pytest.mark.parametrize("call", CASES)
def test_operator(place: Place, call: str) -> None:
    make, check = CASES[call]
    check(place, execute(make(place)))


HOOK_CALLS: dict[str, tuple[Callable[[BigQueryHook, Place], Any], Any]] = {
    "get_records": (
        lambda hook, p: [tuple(row) for row in hook.get_records(f"SELECT isbn FROM {p.books} ORDER BY 1")],
        [("a",), ("b",)],
    ),
    "get_first": (lambda hook, p: tuple(hook.get_first(f"SELECT SUM(pages) FROM {p.books}")), (3,)),
    "table_exists": (
        lambda hook, p: hook.table_exists(project_id=PROJECT, dataset_id=p.dataset, table_id="books"),
        True,
    ),
    "table_partition_exists": (
        lambda hook, p: hook.table_partition_exists(
            project_id=PROJECT, dataset_id=p.dataset, table_id="books", partition_id="20260101"
        ),
        True,
    ),
}


@pytest.mark.parametrize("call", HOOK_CALLS)
def test_hook(place: Place, call: str) -> None:
    hook = BigQueryHook(gcp_conn_id="google_cloud_default", use_legacy_sql=False, location=LOCATION)
    run, answer = HOOK_CALLS[call]
    assert run(hook, place) == answer
