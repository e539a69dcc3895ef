from __future__ import annotations

import concurrent.futures
import datetime as dt
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound
from google.cloud import bigquery

from tests.testing.bigquery.patches.conftest import NASTY, Query, types_of

FIRST = "SELECT 1 AS n, JSON '{\"aB\": 1}' AS j, 'x' AS s"
SECOND = "SELECT 'y' AS s, 2 AS n, JSON '[]' AS j"  # other order: columns are matched by name


def _into(client: bigquery.Client, dataset: str, sql: str, **options: Any) -> bigquery.QueryJob:
    config = bigquery.QueryJobConfig(destination=f"{client.project}.{dataset}.target", **options)
    return client.query(sql, job_config=config, job_retry=None)


def _rows(client: bigquery.Client, dataset: str) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in client.list_rows(f"{dataset}.target"))


def test_writes_result_into_its_destination(client: bigquery.Client, dataset: str) -> None:
    job = _into(client, dataset, f"-- comment\n{FIRST}; -- end")
    assert [tuple(row.values()) for row in job.result()] == [(1, {"aB": 1}, "x")]
    assert job.destination.table_id == "target"
    assert client.get_job(job.job_id).destination.table_id == "target"
    assert _rows(client, dataset) == [(1, {"aB": 1}, "x")]
    assert types_of(client, f"{dataset}.target") == {"n": "INTEGER", "j": "JSON", "s": "STRING"}


def test_truncates_destination_and_keeps_its_labels(
    client: bigquery.Client, dataset: str, query: Query
) -> None:
    query("CREATE TABLE ds.target OPTIONS(labels=[('team', 'books')]) AS SELECT 'gone' AS other")
    _into(client, dataset, FIRST, write_disposition="WRITE_TRUNCATE").result()
    table = client.get_table(f"{dataset}.target")
    assert (table.num_rows, table.labels) == (1, {"team": "books"})
    assert _rows(client, dataset) == [(1, {"aB": 1}, "x")]


def test_appends_to_destination_by_name(client: bigquery.Client, dataset: str) -> None:
    _into(client, dataset, FIRST).result()
    job = _into(client, dataset, SECOND, write_disposition="WRITE_APPEND")
    assert sorted(tuple(row.values()) for row in job.result()) == [(1, {"aB": 1}, "x"), (2, [], "y")]
    assert _rows(client, dataset) == [(1, {"aB": 1}, "x"), (2, [], "y")]
    with pytest.raises(BadRequest, match="Cannot add fields \\(field: extra\\)"):
        _into(client, dataset, "SELECT 1 AS extra", write_disposition="WRITE_APPEND").result(job_retry=None)


@pytest.mark.parametrize("disposition", [None, "WRITE_EMPTY"])
def test_refuses_destination_that_holds_rows(
    client: bigquery.Client, dataset: str, query: Query, disposition: str | None
) -> None:
    query(f"CREATE TABLE ds.target AS {FIRST}")
    with pytest.raises(Conflict, match="Already Exists: Table"):
        _into(client, dataset, SECOND, write_disposition=disposition).result(job_retry=None)
    query("DELETE FROM ds.target WHERE TRUE")
    _into(client, dataset, SECOND, write_disposition=disposition).result()
    assert _rows(client, dataset) == [(2, [], "y")]


def test_creates_no_destination_when_told_not_to(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(NotFound):
        _into(client, dataset, FIRST, create_disposition="CREATE_NEVER").result(job_retry=None)


def test_fails_for_destination_in_missing_dataset(client: bigquery.Client) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        _into(client, "nowhere", FIRST).result(job_retry=None)


@pytest.mark.parametrize("kind", ["query", "load"])
def test_refuses_repeated_job_id(client: bigquery.Client, dataset: str, kind: str) -> None:
    job_id = f"{dataset}-{kind}"

    def submit() -> Any:
        if kind == "query":
            return client.query("SELECT 1 AS a", job_id=job_id, job_retry=None)
        return client.load_table_from_json([{"k": "x"}], f"{dataset}.t", job_id=job_id)

    submit().result()
    with pytest.raises(Conflict, match=f"Already Exists: Job .*{job_id}"):
        submit()
    job = client.get_job(job_id)
    assert (job.job_type, job.state, job.error_result) == (kind, "DONE", None)


def test_runs_a_job_id_after_its_dry_run(client: bigquery.Client, dataset: str) -> None:
    for dry_run in (True, False):
        config = bigquery.QueryJobConfig(dry_run=dry_run)
        client.query("SELECT 1 AS a", job_id=f"{dataset}-dry", job_config=config, job_retry=None)
    assert not client.get_job(f"{dataset}-dry").dry_run


@pytest.mark.parametrize(("asked", "given"), [(None, "us-central1"), ("europe-west4", "europe-west4")])
def test_tells_location_of_job(client: bigquery.Client, asked: str | None, given: str) -> None:
    job = client.query("SELECT 1 AS a", location=asked)
    listed = next(each for each in client.list_jobs() if each.job_id == job.job_id)
    assert [job.location, client.get_job(job.job_id).location, listed.location] == [given] * 3


def test_names_its_location_when_a_table_is_missing(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(NotFound, match="was not found in location us-central1"):
        client.query(f"SELECT * FROM {dataset}.missing", job_retry=None).result(job_retry=None)


def test_keeps_configuration_of_job(client: bigquery.Client) -> None:
    job = client.query("SELECT 1 AS a", job_config=bigquery.QueryJobConfig(labels={"airflow-dag": "nightly"}))
    assert client.get_job(job.job_id).labels == {"airflow-dag": "nightly"}


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM ds.missing", NotFound),
        ("SELECT * FROM nowhere.missing", NotFound),
        ("SELEC 1", BadRequest),
        ("CREATE TABLE ds.there (a INT64)", Conflict),
    ],
)
@pytest.mark.parametrize("synchronous", [False, True], ids=["insert", "query"])
def test_reports_errors_of_statements(
    client: bigquery.Client, dataset: str, query: Query, sql: str, error: type[Exception], synchronous: bool
) -> None:
    query("CREATE TABLE ds.there (a INT64)")
    sql = sql.replace("ds.", f"{dataset}.")
    run = client.query_and_wait if synchronous else lambda *args, **kw: client.query(*args, **kw).result(**kw)
    with pytest.raises(error):
        run(sql, job_retry=None)


@pytest.mark.parametrize("synchronous", [False, True], ids=["insert", "query"])
def test_applies_default_dataset(
    client: bigquery.Client, dataset: str, query: Query, synchronous: bool
) -> None:
    query("CREATE TABLE ds.t AS SELECT @v AS v", v=NASTY)
    config = bigquery.QueryJobConfig(default_dataset=f"{client.project}.{dataset}")
    run = client.query_and_wait if synchronous else client.query
    answer = run("SELECT v FROM t", job_config=config)
    rows = answer if synchronous else answer.result()
    assert [tuple(row.values()) for row in rows] == [(NASTY,)]


def test_copies_tables(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(f"CREATE TABLE ds.source AS {FIRST}")
    client.copy_table(f"{dataset}.source", f"{dataset}.target").result()
    assert _rows(client, dataset) == [(1, {"aB": 1}, "x")]
    with pytest.raises(Conflict):
        client.copy_table(f"{dataset}.source", f"{dataset}.target").result()
    for disposition, rows in (("WRITE_APPEND", 2), ("WRITE_TRUNCATE", 1)):
        config = bigquery.CopyJobConfig(write_disposition=disposition)
        client.copy_table(f"{dataset}.source", f"{dataset}.target", job_config=config).result()
        assert client.get_table(f"{dataset}.target").num_rows == rows


def test_clones_tables(client: bigquery.Client, dataset: str, query: Query) -> None:
    query(f"CREATE TABLE ds.source AS {FIRST}")
    options = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 3600 SECOND))"
    for _ in range(2):
        sql = f"CREATE OR REPLACE TABLE `{dataset}.target`\nCLONE `{dataset}.source`\n{options}"
        client.query(sql).result()
        assert _rows(client, dataset) == [(1, {"aB": 1}, "x")]
        expires = client.get_table(f"{dataset}.target").expires
        assert dt.timedelta(minutes=59) < expires - dt.datetime.now(dt.UTC) <= dt.timedelta(hours=1)
        query("DELETE FROM ds.target WHERE TRUE")
    assert client.get_table(f"{dataset}.source").num_rows == 1


def test_answers_what_it_cannot_do_at_once(client: bigquery.Client, dataset: str, query: Query) -> None:
    query("CREATE TABLE ds.t (k STRING)")
    # A 500 would keep the client busy with retries for ten minutes.
    with pytest.raises(BadRequest, match="local BigQuery server can't do this"):
        list(client.list_rows(f"{dataset}.t", selected_fields=[bigquery.SchemaField("missing", "STRING")]))


def test_answers_each_of_many_clients_its_own_rows(
    client: bigquery.Client, dataset: str, query: Query
) -> None:
    query("CREATE TABLE ds.t AS SELECT n FROM UNNEST(GENERATE_ARRAY(1, 500)) AS n")

    def ask(number: int) -> tuple[int, int, int]:
        ((answer,),) = [tuple(row.values()) for row in client.query(f"SELECT {number} AS a").result()]
        return answer, len(list(client.list_rows(f"{dataset}.t"))), client.get_table(f"{dataset}.t").num_rows

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [(number, 500, 500) for number in range(40)]


@pytest.mark.parametrize("wait", [True, False])
def test_job_in_another_location_finds_no_dataset(client: bigquery.Client, dataset: str, wait: bool) -> None:
    client.query_and_wait(f"CREATE TABLE {dataset}.t AS SELECT 1 AS n")
    sql = f"SELECT n FROM {dataset}.t"
    run = (
        client.query_and_wait if wait else lambda sql, location: client.query(sql, location=location).result()
    )
    assert [row.n for row in run(sql, location="us-central1")] == [1]
    with pytest.raises(NotFound, match=f"Dataset demo-project:{dataset} was not found in location EU"):
        run(sql, location="EU")
    with pytest.raises(NotFound, match="was not found in location EU"):
        client.load_table_from_json([{"n": 1}], f"{dataset}.t", location="EU").result()
