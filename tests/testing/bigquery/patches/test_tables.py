from __future__ import annotations

import datetime as dt
import time

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery

from tests.testing.bigquery.patches.conftest import Query, types_of

Field = bigquery.SchemaField


def test_shows_types_of_a_table_made_by_a_query(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(
        """CREATE TABLE ds.made AS SELECT 1 AS i, 1.5 AS f, NUMERIC '1.5' AS n, TRUE AS b, 'x' AS s, b'x' AS y,
             JSON '{}' AS j, DATE '2026-01-02' AS d, TIMESTAMP '2026-01-02 03:04:05 UTC' AS t,
             DATETIME '2026-01-02 03:04:05' AS dt, ['a'] AS a, STRUCT(1 AS innerName, JSON '1' AS j) AS r,
             CAST(NULL AS STRING) AS missing, SUM(2) AS total"""
    )
    schema = client.get_table(f"{dataset}.made").schema
    assert {field.name: (field.field_type, field.mode) for field in schema} == {
        "i": ("INTEGER", "NULLABLE"),
        "f": ("FLOAT", "NULLABLE"),
        "n": ("NUMERIC", "NULLABLE"),
        "b": ("BOOLEAN", "NULLABLE"),
        "s": ("STRING", "NULLABLE"),
        "y": ("BYTES", "NULLABLE"),
        "j": ("JSON", "NULLABLE"),
        "d": ("DATE", "NULLABLE"),
        "t": ("TIMESTAMP", "NULLABLE"),
        "dt": ("DATETIME", "NULLABLE"),
        "a": ("STRING", "REPEATED"),
        "r": ("RECORD", "NULLABLE"),
        "missing": ("STRING", "NULLABLE"),
        "total": ("INTEGER", "NULLABLE"),
    }
    record = next(field for field in schema if field.name == "r")
    assert [(field.name, field.field_type) for field in record.fields] == [
        ("innerName", "INTEGER"),
        ("j", "JSON"),
    ]


def test_takes_large_integers_into_a_column_made_of_small_ones(query: Query) -> None:
    query("CREATE TABLE ds.made AS SELECT 1 AS n")
    query("INSERT INTO ds.made (n) VALUES (9223372036854775807)")
    assert query("SELECT MAX(n) FROM ds.made") == [(9223372036854775807,)]


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ("INSERT INTO ds.target (k) VALUES ('b'), ('c')", 3),
        ("DELETE FROM ds.target WHERE TRUE", 0),
        ("UPDATE ds.target SET k = 'z' WHERE TRUE", 1),
        (
            "MERGE INTO ds.target t USING ds.source s ON t.k = s.k WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k)",
            2,
        ),
        ("TRUNCATE TABLE ds.target", 0),
        ("CREATE OR REPLACE TABLE ds.target AS SELECT 'x' AS k", 1),
        ("BEGIN TRANSACTION; INSERT INTO ds.target (k) VALUES ('b'); COMMIT TRANSACTION;", 2),
    ],
    ids=["insert", "delete", "update", "merge", "truncate", "replace", "script"],
)
def test_counts_rows_and_changes_etag_when_data_changes(
    client: bigquery.Client, dataset: str, query: Query, change: str, rows: int
) -> None:
    query("CREATE TABLE ds.target AS SELECT 'a' AS k")
    query("CREATE TABLE ds.source AS SELECT 'b' AS k")
    before, source = client.get_table(f"{dataset}.target"), client.get_table(f"{dataset}.source")
    time.sleep(0.002)  # modification times are in milliseconds

    query(change)

    after = client.get_table(f"{dataset}.target")
    assert after.num_rows == rows
    assert after.etag != before.etag
    assert after.modified > before.modified
    assert client.get_table(f"{dataset}.source").etag == source.etag


def test_keeps_etag_while_data_is_read(client: bigquery.Client, dataset: str, query: Query) -> None:
    query("CREATE TABLE ds.target AS SELECT 'a' AS k")
    before = client.get_table(f"{dataset}.target").etag
    query("SELECT * FROM ds.target")
    query("CREATE TABLE IF NOT EXISTS ds.target (other INT64)")
    assert client.get_table(f"{dataset}.target").etag == before


def test_takes_options_of_create_and_alter(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(
        """CREATE TABLE ds.t (k STRING NOT NULL, moment TIMESTAMP) PARTITION BY TIMESTAMP_TRUNC(moment, HOUR)
           CLUSTER BY k
           OPTIONS(labels=[('team', 'books')], description='What it holds',
                   expiration_timestamp=TIMESTAMP '2090-01-01 00:00:00 UTC', partition_expiration_days=2)"""
    )
    table = client.get_table(f"{dataset}.t")
    assert table.labels == {"team": "books"}
    assert table.description == "What it holds"
    assert table.expires == dt.datetime(2090, 1, 1, tzinfo=dt.UTC)
    assert table.clustering_fields == ["k"]
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("HOUR", "moment")
    assert table.time_partitioning.expiration_ms == 2 * 86_400_000

    query("ALTER TABLE ds.t SET OPTIONS(labels=[('team', 'films')], expiration_timestamp=NULL)")
    table = client.get_table(f"{dataset}.t")
    assert (table.labels, table.expires) == ({"team": "films"}, None)


def test_adds_and_renames(client: bigquery.Client, dataset: str, query: Query) -> None:
    query("CREATE TABLE ds.t (k STRING NOT NULL)")
    query("ALTER TABLE ds.t ADD COLUMN IF NOT EXISTS a STRING, ADD COLUMN j JSON")
    query("ALTER TABLE ds.t ADD COLUMN IF NOT EXISTS a STRING")
    assert types_of(client, f"{dataset}.t") == {"k": "STRING", "a": "STRING", "j": "JSON"}
    assert client.get_table(f"{dataset}.t").schema[0].mode == "REQUIRED"
    query("CREATE TABLE ds.v (k STRING); ALTER TABLE ds.v ADD COLUMN a STRING, ADD COLUMN b INT64")
    assert types_of(client, f"{dataset}.v") == {"k": "STRING", "a": "STRING", "b": "INTEGER"}
    query("DROP TABLE ds.v")

    query("ALTER TABLE ds.t RENAME TO u")
    query("INSERT INTO ds.u (k, j) VALUES ('x', JSON '1')")
    assert [table.table_id for table in client.list_tables(dataset)] == ["u"]
    assert query("SELECT * FROM ds.u") == [("x", None, 1)]


def test_creates_and_updates_tables_over_the_api(client: bigquery.Client, dataset: str, query: Query) -> None:
    asked = bigquery.Table(f"{client.project}.{dataset}.t", schema=[Field("k", "STRING", "REQUIRED")])
    asked.labels = {"a": "b"}
    asked.expires = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)

    table = client.create_table(asked)
    assert (table.labels, table.expires, table.location) == ({"a": "b"}, asked.expires, "us-central1")
    with pytest.raises(Conflict):
        client.create_table(asked)

    table.labels, table.expires = {"c": "d"}, None
    table.schema = [*table.schema, Field("added", "JSON")]
    table = client.update_table(table, ["labels", "expires", "schema"])
    assert (table.labels["c"], table.expires) == ("d", None)
    query("INSERT INTO ds.t (k, added) VALUES ('x', JSON '{\"a\": 1}')")
    assert query("SELECT added FROM ds.t") == [({"a": 1},)]


def test_drops_expired_tables(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(
        """CREATE TABLE ds.short
           OPTIONS(expiration_timestamp=TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 SECOND))
           AS SELECT 1 AS a"""
    )
    assert query("SELECT a FROM ds.short") == [(1,)]
    time.sleep(1)
    with pytest.raises(NotFound):
        client.get_table(f"{dataset}.short")
    with pytest.raises(NotFound):
        query("SELECT a FROM ds.short")


def test_pages_rows(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(
        "CREATE TABLE ds.t AS SELECT n, PARSE_JSON(CONCAT('{\"n\": ', n, '}')) AS j FROM UNNEST([1, 2, 3, 4, 5]) AS n"
    )
    pages = [
        [tuple(row.values()) for row in page] for page in client.list_rows(f"{dataset}.t", page_size=2).pages
    ]
    assert pages == [[(1, {"n": 1}), (2, {"n": 2})], [(3, {"n": 3}), (4, {"n": 4})], [(5, {"n": 5})]]


def test_lists_all_tables_whatever_the_page_size(client: bigquery.Client, dataset: str, query: Query) -> None:
    for name in ("a", "b", "c"):
        query(f"CREATE TABLE ds.{name} (k STRING)")
    assert [table.table_id for table in client.list_tables(dataset, page_size=2)] == ["a", "b", "c"]


def test_deletes_tables_and_datasets(client: bigquery.Client, dataset: str, query: Query) -> None:
    query("CREATE TABLE ds.t (k STRING)")
    query("CREATE VIEW ds.v AS SELECT 1 AS a")
    with pytest.raises(BadRequest, match="still in use"):
        client.delete_dataset(dataset, not_found_ok=True)

    client.delete_table(f"{dataset}.v")
    client.delete_table(f"{dataset}.t")
    with pytest.raises(NotFound):
        client.delete_table(f"{dataset}.t")
    client.delete_dataset(dataset)
    with pytest.raises(NotFound):
        client.get_dataset(dataset)


@pytest.mark.parametrize("path", ["tables/missing", "tables/missing/data", "tables"])
def test_answers_missing_datasets_with_googles_error(client: bigquery.Client, path: str) -> None:
    with pytest.raises(NotFound) as caught:
        client._connection.api_request("GET", f"/projects/{client.project}/datasets/nowhere/{path}")
    assert caught.value.errors[0]["reason"] == "notFound"
    assert "nowhere" in caught.value.message


def test_answers_missing_table_with_googles_error(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(NotFound) as caught:
        client.get_table(f"{dataset}.missing")
    assert caught.value.errors[0]["reason"] == "notFound"


@pytest.mark.parametrize(
    ("options", "location"), [("OPTIONS(location='europe-west4')", "europe-west4"), ("", "us-central1")]
)
def test_places_datasets_made_by_sql(
    client: bigquery.Client, dataset: str, query: Query, options: str, location: str
) -> None:
    query(f"CREATE SCHEMA {dataset}_more {options}")
    assert client.get_dataset(f"{dataset}_more").location == location
    client.delete_dataset(f"{dataset}_more")


def test_keeps_the_location_of_a_dataset(client: bigquery.Client, dataset: str) -> None:
    asked = bigquery.Dataset(f"{client.project}.{dataset}_eu")
    asked.location = "europe-west4"
    client.create_dataset(asked)
    assert client.get_dataset(f"{dataset}_eu").location == "europe-west4"
    assert client.get_dataset(dataset).location == "us-central1"
    client.delete_dataset(f"{dataset}_eu")


def test_grants_every_permission_on_a_table(client: bigquery.Client, dataset: str, query: Query) -> None:
    query("CREATE TABLE ds.granted (a INT64)")
    asked = ["bigquery.tables.updateData", "bigquery.tables.get"]
    assert client.test_iam_permissions(f"{dataset}.granted", asked) == {"permissions": asked}
    for missing in (f"{dataset}.missing", "p.missing.missing"):
        with pytest.raises(NotFound):
            client.test_iam_permissions(missing, asked)
