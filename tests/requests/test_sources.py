from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.requests.sources import (
    FileKind,
    FileRows,
    QueryRows,
    TableRows,
    file_kind,
    parse_row_source,
)


def test_table_is_read() -> None:
    source = parse_row_source("bq://project-1.shop.books")
    assert source == TableRows(BigQueryAddress("project-1", "shop", "books"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t",
        "select 1",
        "  \n WITH a AS (SELECT 1) SELECT * FROM a",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "FROM t |> WHERE a",
        "-- all books\nSELECT 1",
        "/* all\nbooks */ SELECT 1",
    ],
)
def test_query_is_read(sql: str) -> None:
    assert parse_row_source(sql) == QueryRows(sql.strip())


def test_query_loses_its_last_semicolon() -> None:
    assert parse_row_source("SELECT 1;\n") == QueryRows("SELECT 1")


@pytest.mark.parametrize(
    ("source", "paths", "kind"),
    [
        ("books.csv", ("books.csv",), FileKind.CSV),
        ("in/*.jsonl", ("in/*.jsonl",), FileKind.JSON_LINES),
        ("selected.parquet", ("selected.parquet",), FileKind.PARQUET),
        ("gs://bucket-1/in/**.csv.gz", (GcsAddress("bucket-1", "in/**.csv.gz"),), FileKind.CSV),
        (["a.csv", "gs://bucket-1/b.csv"], ("a.csv", GcsAddress("bucket-1", "b.csv")), FileKind.CSV),
        (("a.json", "b.ndjson.gz"), ("a.json", "b.ndjson.gz"), FileKind.JSON_LINES),
    ],
)
def test_files_are_read(source: Any, paths: tuple[Any, ...], kind: FileKind) -> None:
    assert parse_row_source(source) == FileRows(paths, kind)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("", "source is empty", id="empty"),
        pytest.param([], "source is empty", id="empty-list"),
        pytest.param(["a.csv", " "], "source is empty", id="blank-in-a-list"),
        pytest.param(["a.csv", 5], "source is empty", id="no-text"),
        pytest.param("bq://project-1.shop", "is a dataset: name the table", id="dataset"),
        pytest.param(
            ["bq://p-12345.d.t", "bq://p-12345.d.u"], "names a table and other sources", id="two-tables"
        ),
        pytest.param(["a.csv", "b.parquet"], "mixes kinds of files", id="mixed"),
        pytest.param("a.xlsx", "the kind of file is not known", id="unknown-kind"),
        pytest.param("gs://bucket-1/a", "the kind of file is not known", id="no-ending"),
        pytest.param("s3://bucket/a.csv", "unknown scheme s3://", id="unknown-scheme"),
        pytest.param("gs://B!/a.csv", "does not name a valid bucket", id="bad-bucket"),
        pytest.param("bq://nonsense", "is incomplete", id="bad-table"),
        pytest.param("['a.csv']", "render_template_as_native_obj", id="rendered-list"),
    ],
)
def test_other_source_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_row_source(source)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.CSV", FileKind.CSV),
        ("a.csv.GZ", FileKind.CSV),
        ("a.csv.parquet", FileKind.PARQUET),
        ("folder.csv/a.json", FileKind.JSON_LINES),
    ],
)
def test_kind_is_told_by_the_ending(path: str, kind: FileKind) -> None:
    assert file_kind(path) is kind


@pytest.mark.parametrize("path", ["a.gz", "csv", "a.csv.zip", "a.csv/b"])
def test_other_kind_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not known"):
        file_kind(path)
