"""The tables that answers land in, made and widened."""

from __future__ import annotations

import json

import pytest
from google.cloud.bigquery import PartitionRange, RangePartitioning, Table, TimePartitioning

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.bigquery.targets import pruning_column
from tests.landing.landings import (
    TEXT,
    good,
    later,
    plan_of,
)


def test_new_columns_are_added_and_old_ones_kept(landing):
    landing.run_sql(f"CREATE TABLE {landing.target.sql} (isbn STRING NOT NULL, price NUMERIC, Genre STRING)")
    landing.run_sql(f"INSERT INTO {landing.target.sql} (isbn, price, Genre) VALUES ('978-1', 9.99, 'old')")
    plan = plan_of({"genre": str, "tags": list[str], "year": int})
    answer = json.dumps({"genre": "novel", "tags": ["a"], "year": 1847})
    landing.land(plan, ("978-1", good(answer)), ("978-2", good(answer)))
    rows = landing.landed("price", "Genre", "tags", "year")
    assert {key: (str(row[0]), *row[1:]) for key, row in rows.items()} == {
        "978-1": ("9.990000000", "novel", ["a"], 1847),
        "978-2": ("None", "novel", ["a"], 1847),
    }
    assert landing.types(landing.target)["isbn"] == ("STRING", "REQUIRED")


def test_changed_type_is_told_before_anything_is_written(landing):
    landing.land(plan_of({"year": str, "tags": str}), ("978-1", good('{"year": "1847", "tags": "a"}')))
    before = landing.landed()
    with pytest.raises(InvalidRequestError) as refused:
        landing.land(plan_of({"year": int, "tags": list[str], "new": str}), ("978-1", later(good("{}"))))
    assert "the column 'year' is STRING there, and what lands in it is INT64" in str(refused.value)
    assert "the column 'tags' is STRING there, and what lands in it is ARRAY<STRING>" in str(refused.value)
    assert "Name another target, or change the table" in str(refused.value)
    assert landing.landed() == before
    assert "new" not in landing.types(landing.target)


@pytest.mark.parametrize("table", ["target", "failed"])
def test_key_of_another_type_is_told(landing, table):
    address = getattr(landing, table)
    landing.run_sql(f"CREATE TABLE {address.sql} (isbn INT64)")
    with pytest.raises(
        InvalidRequestError, match=f"{address} can't take .*\n.*'isbn' is INT64 there, and what"
    ):
        landing.land(TEXT, ("978-1", good("A")))


def test_target_without_the_key_is_told(landing):
    landing.run_sql(f"CREATE TABLE {landing.target.sql} (ean STRING)")
    with pytest.raises(InvalidRequestError, match="the key column 'isbn' is missing there"):
        landing.land(TEXT, ("978-1", good("A")))


def test_missing_dataset_of_the_target_is_told(landing):
    landing.target = BigQueryAddress("demo-project", "no_such_dataset", "books")
    with pytest.raises(
        InvalidRequestError, match=r"the dataset demo-project\.no_such_dataset does not exist"
    ):
        landing.land(TEXT, ("978-1", good("A")))


BY_DAY, BY_TIME_OF_LOADING = TimePartitioning(field="Day"), TimePartitioning()
BY_NUMBER = RangePartitioning(PartitionRange(0, 100, 10), field="shelf")


@pytest.mark.parametrize(
    ("layout", "column"),
    [
        ({}, None),
        ({"time_partitioning": BY_DAY}, "day"),
        ({"time_partitioning": BY_TIME_OF_LOADING}, None),
        ({"range_partitioning": BY_NUMBER}, "shelf"),
        ({"clustering_fields": ["SHELF", "genre"]}, "shelf"),
        ({"clustering_fields": ["genre", "shelf"]}, None),
        ({"time_partitioning": BY_DAY, "clustering_fields": ["shelf"]}, "day"),
        ({"time_partitioning": BY_TIME_OF_LOADING, "clustering_fields": ["shelf"]}, "shelf"),
    ],
    ids=str,
)
def test_parts_are_told_by_a_column_of_the_key(layout, column):
    table = Table("demo-project.books.t")
    for name, value in layout.items():
        setattr(table, name, value)
    assert pruning_column(("day", "shelf"), table) == column


def test_table_that_does_not_exist_has_no_parts():
    assert pruning_column(("day",), None) is None
