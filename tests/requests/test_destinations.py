from __future__ import annotations

import pytest

from airflow_gemini_batch.requests.destinations import request_dataset, request_folder
from airflow_gemini_batch.requests.sources import QueryRows, TableRows, parse_row_source

TABLE = parse_row_source("bq://shop-1.raw.books")
QUERY = QueryRows("SELECT 1")


@pytest.mark.parametrize(
    ("destination", "enriched", "source", "expected"),
    [
        pytest.param("bq://shop-1.jobs", "bq://shop-1.books.enriched", TABLE, "bq://shop-1.jobs", id="given"),
        pytest.param(None, "bq://shop-1.books.enriched", TABLE, "bq://shop-1.books", id="enriched"),
        pytest.param(None, "bq://shop-1.books.enriched", QUERY, "bq://shop-1.books", id="query"),
        pytest.param(None, None, TABLE, "bq://shop-1.raw", id="source"),
        pytest.param("", "", TABLE, "bq://shop-1.raw", id="rendered to nothing"),
    ],
)
def test_tables_of_requests_lie_beside_what_they_are_for(
    destination: str | None, enriched: str | None, source: TableRows | QueryRows, expected: str
) -> None:
    assert str(request_dataset(destination, enriched, source)) == expected


@pytest.mark.parametrize(
    ("destination", "source", "message"),
    [
        ("gs://shop/jobs", TABLE, "gs://shop/jobs has to be a dataset"),
        ("bq://shop-1.jobs.requests", TABLE, "has to be a dataset"),
        (None, QUERY, "destination is missing: name a dataset"),
    ],
)
def test_place_for_tables_that_is_none_is_named(
    destination: str | None, source: TableRows | QueryRows, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        request_dataset(destination, None, source)


@pytest.mark.parametrize(
    ("destination", "enriched", "expected"),
    [
        pytest.param("gs://shop/jobs", "gs://shop/out/books.parquet", "gs://shop/jobs", id="given"),
        pytest.param(None, "gs://shop/out/books.parquet", "gs://shop/out/requests", id="enriched"),
        pytest.param(None, "gs://shop/books.parquet", "gs://shop/requests", id="at the top"),
    ],
)
def test_files_of_requests_lie_beside_what_they_are_for(
    destination: str | None, enriched: str | None, expected: str
) -> None:
    assert str(request_folder(destination, enriched)) == expected


@pytest.mark.parametrize(
    ("destination", "enriched", "message"),
    [
        ("bq://shop-1.jobs", None, "has to be a folder on Cloud Storage"),
        ("gs://shop/jobs/*", None, "has to be a folder on Cloud Storage"),
        (None, None, "destination is missing: name a folder"),
        (None, "books.parquet", "destination is missing: name a folder"),
        (None, "bq://shop-1.books.enriched", "destination is missing: name a folder"),
    ],
)
def test_place_for_files_that_is_none_is_named(
    destination: str | None, enriched: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        request_folder(destination, enriched)
