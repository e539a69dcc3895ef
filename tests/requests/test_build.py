"""Which way rows take to their requests, and where the requests go."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import orjson
import pytest

from airflow_gemini_batch.requests.build import build_requests, request_dataset, request_folder
from airflow_gemini_batch.requests.sources import QueryRows, TableRows, parse_row_source
from tests.requests.plans import gemini_embedding_plan, plan
from tests.support.requests_data import lines, storage_client
from tests.support.tables import fill, read

ROWS = [{"isbn": "a", "title": "x"}, {"isbn": "b", "title": "y"}]
TABLE = parse_row_source("bq://shop-1.raw.books")
QUERY = QueryRows("SELECT 1")


@pytest.mark.parametrize(
    ("requests", "target", "source", "expected"),
    [
        pytest.param("bq://shop-1.jobs", "bq://shop-1.books.enriched", TABLE, "bq://shop-1.jobs", id="given"),
        pytest.param(None, "bq://shop-1.books.enriched", TABLE, "bq://shop-1.books", id="target"),
        pytest.param(None, "bq://shop-1.books.enriched", QUERY, "bq://shop-1.books", id="query"),
        pytest.param(None, None, TABLE, "bq://shop-1.raw", id="source"),
        pytest.param("", "", TABLE, "bq://shop-1.raw", id="rendered to nothing"),
    ],
)
def test_tables_of_requests_lie_beside_what_they_are_for(
    requests: str | None, target: str | None, source: TableRows | QueryRows, expected: str
) -> None:
    assert str(request_dataset(requests, target, source)) == expected


@pytest.mark.parametrize(
    ("requests", "source", "message"),
    [
        ("gs://shop/jobs", TABLE, "gs://shop/jobs has to be a dataset"),
        ("bq://shop-1.jobs.requests", TABLE, "has to be a dataset"),
        (None, QUERY, "requests is missing: name a dataset"),
    ],
)
def test_place_for_tables_that_is_none_is_named(
    requests: str | None, source: TableRows | QueryRows, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        request_dataset(requests, None, source)


@pytest.mark.parametrize(
    ("requests", "target", "expected"),
    [
        pytest.param("gs://shop/jobs", "gs://shop/out/books.parquet", "gs://shop/jobs", id="given"),
        pytest.param(None, "gs://shop/out/books.parquet", "gs://shop/out/requests", id="target"),
        pytest.param(None, "gs://shop/books.parquet", "gs://shop/requests", id="at the top"),
    ],
)
def test_files_of_requests_lie_beside_what_they_are_for(
    requests: str | None, target: str | None, expected: str
) -> None:
    assert str(request_folder(requests, target)) == expected


@pytest.mark.parametrize(
    ("requests", "target", "message"),
    [
        ("bq://shop-1.jobs", None, "has to be a folder on Cloud Storage"),
        ("gs://shop/jobs/*", None, "has to be a folder on Cloud Storage"),
        (None, None, "requests is missing: name a folder"),
        (None, "books.parquet", "requests is missing: name a folder"),
        (None, "bq://shop-1.books.enriched", "requests is missing: name a folder"),
    ],
)
def test_place_for_files_that_is_none_is_named(
    requests: str | None, target: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        request_folder(requests, target)


@pytest.fixture
def build(gemini_batch_stack, client):
    return partial(
        build_requests,
        storage_client=lambda: storage_client(gemini_batch_stack),
        bigquery_client=lambda: client,
        log=logging.getLogger("build"),
    )


@pytest.mark.parametrize("model_reads", ["tables", "files"])
@pytest.mark.parametrize("kind", ["table", "query", "file", "rows", "function"])
def test_each_kind_of_rows_takes_its_way(
    gemini_batch_stack, build, dataset, table, bucket, tmp_path, kind, model_reads
):
    sources: dict[str, Any] = {
        "rows": ROWS,
        "function": lambda: iter(ROWS),
        "file": str(tmp_path / "books.jsonl"),
    }
    if kind == "file":
        (tmp_path / "books.jsonl").write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
    elif kind in ("table", "query"):
        address = table(ROWS).address
        sources |= {"table": str(address), "query": f"SELECT * FROM {address.sql}"}
    in_table = kind in ("table", "query") and model_reads == "tables"
    requests = str(dataset) if in_table else f"gs://{bucket}/requests"
    wanted = plan() if model_reads == "tables" else gemini_embedding_plan()
    (source,) = build(wanted, sources[kind], requests).sources
    assert source.startswith(requests)
    written = read(gemini_batch_stack, source) if in_table else lines(gemini_batch_stack, source)
    keys = ["a", "b"] if in_table else ["key=a;", "key=b;"]
    assert sorted(row["isbn" if in_table else "key"] for row in written) == keys


@pytest.mark.parametrize("kind", ["table", "rows"])
def test_rows_that_a_table_holds_are_left_out(gemini_batch_stack, build, dataset, table, bucket, kind):
    first = build(plan(), table(ROWS), str(dataset))
    done = [row for row in read(gemini_batch_stack, first.sources[0]) if row["isbn"] == "a"]
    columns = {"isbn": "STRING", "batch_fingerprint": "STRING"}
    target = fill(
        gemini_batch_stack,
        f"{dataset}.landed",
        columns,
        [{name: row[name] for name in columns} for row in done],
    )
    source, requests = (table([]), str(dataset)) if kind == "table" else (ROWS, f"gs://{bucket}/requests")
    report = build(plan(target=target), source, requests)
    assert (report.requests, report.done) == (1, 1)
