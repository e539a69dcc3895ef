from __future__ import annotations

import re

import pytest

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address

NAMED = [
    pytest.param("gs://books/in.jsonl", GcsAddress("books", "in.jsonl"), id="object"),
    pytest.param("gs://books/a/b/c.jsonl", GcsAddress("books", "a/b/c.jsonl"), id="object-in-folders"),
    pytest.param("gs://books/a/", GcsAddress("books", "a/"), id="folder"),
    pytest.param("gs://books/", GcsAddress("books", ""), id="bucket"),
    pytest.param("gs://books/2024-*/part-*.jsonl", GcsAddress("books", "2024-*/part-*.jsonl"), id="pattern"),
    pytest.param("gs://books//a", GcsAddress("books", "/a"), id="empty-folder-name"),
    pytest.param("gs://books/ünï/本.jsonl", GcsAddress("books", "ünï/本.jsonl"), id="unicode-path"),
    pytest.param("gs://books/a b#1?x=%20", GcsAddress("books", "a b#1?x=%20"), id="nothing-is-decoded"),
    pytest.param("gs://shop.example.com/a", GcsAddress("shop.example.com", "a"), id="domain-bucket"),
    pytest.param("gs://my_books-2/a", GcsAddress("my_books-2", "a"), id="bucket-with-underscore"),
    pytest.param("bq://my-shop.books.rows", BigQueryAddress("my-shop", "books", "rows"), id="table"),
    pytest.param("bq://my-shop.books", BigQueryAddress("my-shop", "books"), id="dataset"),
    pytest.param(
        "bq://example.com:my-shop.books.rows",
        BigQueryAddress("example.com:my-shop", "books", "rows"),
        id="domain-scoped-project",
    ),
    pytest.param(
        "bq://shop.example.co.uk:my-shop.books",
        BigQueryAddress("shop.example.co.uk:my-shop", "books"),
        id="domain-with-many-dots",
    ),
    pytest.param(
        "bq://my-shop.books.rows$20240131",
        BigQueryAddress("my-shop", "books", "rows$20240131"),
        id="partition",
    ),
    pytest.param("bq://my-shop.books.my rows", BigQueryAddress("my-shop", "books", "my rows"), id="space"),
    pytest.param("bq://my-shop.books.my-rows", BigQueryAddress("my-shop", "books", "my-rows"), id="dash"),
    pytest.param("bq://my-shop.books.2024", BigQueryAddress("my-shop", "books", "2024"), id="digits-only"),
    pytest.param("bq://my-shop.books.книги", BigQueryAddress("my-shop", "books", "книги"), id="cyrillic"),
    # A table's name may hold the Unicode categories L, M, N, Pc, Pd and Zs.
    pytest.param("bq://my-shop.books.हिन्दी", BigQueryAddress("my-shop", "books", "हिन्दी"), id="marks"),
    pytest.param("bq://my-shop.books.a–b", BigQueryAddress("my-shop", "books", "a–b"), id="en-dash"),  # noqa: RUF001
    pytest.param(
        f"bq://my-shop.books.{'t' * 1024}",
        BigQueryAddress("my-shop", "books", "t" * 1024),
        id="longest-table",
    ),
]


@pytest.mark.parametrize(("uri", "address"), NAMED)
def test_parse_reads_what_is_named(uri: str, address: Address) -> None:
    assert parse_address(uri) == address


@pytest.mark.parametrize(("uri", "address"), NAMED)
def test_text_of_an_address_is_its_uri(uri: str, address: Address) -> None:
    assert str(address) == uri


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        pytest.param(None, "missing", id="none"),
        pytest.param("", "missing", id="empty"),
        pytest.param("  ", "missing", id="blank"),
        pytest.param(7, "missing", id="number"),
        pytest.param(" gs://books/a", "spaces around", id="leading-space"),
        pytest.param("gs://books/a\n", "spaces around", id="trailing-newline"),
        pytest.param("s3://books/a", "unknown scheme s3://", id="other-scheme"),
        pytest.param("GS://books/a", "unknown scheme GS://", id="scheme-in-capitals"),
        pytest.param("https://storage.googleapis.com/books/a", "unknown scheme https://", id="web-address"),
        pytest.param("gs://", "a valid bucket", id="scheme-only"),
        pytest.param("gs:///a", "a valid bucket", id="empty-bucket"),
        pytest.param("gs://Books/a", "a valid bucket", id="bucket-in-capitals"),
        pytest.param("gs://bo*ks/a", "a valid bucket", id="wildcard-in-bucket"),
        pytest.param("gs://bücher/a", "a valid bucket", id="unicode-bucket"),
        pytest.param(f"gs://{'b' * 223}/a", "a valid bucket", id="bucket-too-long"),
        pytest.param("bq://my-shop", "incomplete", id="project-only"),
        pytest.param("bq://my-shop.books.rows.more", "incomplete", id="too-many-parts"),
        pytest.param("bq://my-shop.books.", "'' is not a table name", id="empty-table"),
        pytest.param("bq://my-shop..rows", "'' is not a dataset name", id="empty-dataset"),
        pytest.param("bq://.books.rows", "'' is not a project id", id="empty-project"),
        pytest.param("bq://my-shop.my-books.rows", "'my-books' is not a dataset name", id="dash-in-dataset"),
        pytest.param("bq://My-Shop.books.rows", "'My-Shop' is not a project id", id="project-in-capitals"),
        pytest.param("bq://my-shop:books.rows", "is not a project id", id="legacy-colon"),
        pytest.param("bq://my-shop.books.ro`ws", "is not a table name", id="backtick"),
        pytest.param(
            "bq://my-shop.books.rows_*",
            "stands for several tables, which only a query reads: give SELECT * FROM `my-shop.books.rows_*`",
            id="table-wildcard",
        ),
        pytest.param("bq://my-shop.books.ro\nws", "is not a table name", id="newline-in-table"),
        pytest.param(f"bq://my-shop.books.{'t' * 1025}", "is not a table name", id="table-too-long"),
        pytest.param("my-shop.books.rows", "write bq://my-shop.books.rows", id="table-without-scheme"),
        pytest.param("books/a.jsonl", "write gs://books/a.jsonl", id="path-without-scheme"),
        pytest.param("rows", "has no scheme", id="word"),
    ],
)
def test_parse_names_the_fault(uri: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        parse_address(uri)
    assert repr(uri) in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("my-shop.books.rows", id="table"),
        pytest.param("my-shop.books.rows$20240131", id="partition"),
        pytest.param("example.com:my-shop.books.rows", id="domain-scoped-table"),
        pytest.param("books/a.jsonl", id="path"),
        pytest.param("/data/a.jsonl", id="file-of-the-worker"),
        pytest.param("gs:/books/a.jsonl", id="one-slash"),
        pytest.param("bq:my-shop.books.rows", id="no-slashes"),
    ],
)
def test_suggested_address_can_be_parsed(uri: str) -> None:
    with pytest.raises(ValueError, match=re.escape(uri)) as caught:
        parse_address(uri)
    for suggestion in re.findall(r"write (\S+)", str(caught.value)):
        parse_address(suggestion)


@pytest.mark.parametrize(
    ("kind", "uri", "complaint"),
    [
        pytest.param(GcsAddress, "bq://my-shop.books", "gs://", id="table-for-a-file"),
        pytest.param(BigQueryAddress, "gs://books/a", "bq://", id="file-for-a-table"),
    ],
)
def test_parse_of_one_kind_refuses_the_other(
    kind: type[GcsAddress | BigQueryAddress], uri: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"must start with {complaint}"):
        kind.parse(uri)


@pytest.mark.parametrize(
    ("path", "folder", "has_wildcard"),
    [
        pytest.param("", "", False, id="bucket"),
        pytest.param("in.jsonl", "", False, id="top-of-the-bucket"),
        pytest.param("a/b/in.jsonl", "a/b", False, id="object"),
        pytest.param("a/b/", "a/b", False, id="folder"),
        pytest.param("a/b/*.jsonl", "a/b", True, id="wildcard-in-the-name"),
        pytest.param("a/b/part-*.jsonl", "a/b", True, id="wildcard-after-a-prefix"),
        pytest.param("a/*/in.jsonl", "a", True, id="wildcard-in-the-middle"),
        pytest.param("a/2024-*/b/*.jsonl", "a", True, id="several-wildcards"),
        pytest.param("a/**", "a", True, id="double-wildcard"),
        pytest.param("*/in.jsonl", "", True, id="wildcard-first"),
    ],
)
def test_folder_ends_before_the_first_wildcard(path: str, folder: str, has_wildcard: bool) -> None:
    address = GcsAddress("books", path)
    assert (address.folder, address.has_wildcard) == (folder, has_wildcard)


@pytest.mark.parametrize(
    ("path", "child"),
    [
        pytest.param("", "gs://books/x.jsonl", id="bucket"),
        pytest.param("a", "gs://books/a/x.jsonl", id="prefix"),
        pytest.param("a/b/", "gs://books/a/b/x.jsonl", id="trailing-slash"),
    ],
)
def test_child_lies_one_slash_below(path: str, child: str) -> None:
    assert str(GcsAddress("books", path).child("x.jsonl")) == child


@pytest.mark.parametrize(
    ("address", "is_table", "dotted", "sql"),
    [
        pytest.param(
            BigQueryAddress("my-shop", "books", "rows"),
            True,
            "my-shop.books.rows",
            "`my-shop.books.rows`",
            id="table",
        ),
        pytest.param(
            BigQueryAddress("my-shop", "books"), False, "my-shop.books", "`my-shop.books`", id="dataset"
        ),
        pytest.param(
            BigQueryAddress("example.com:my-shop", "books", "rows"),
            True,
            "example.com:my-shop.books.rows",
            "`example.com:my-shop.books.rows`",
            id="domain-scoped-project",
        ),
    ],
)
def test_bigquery_address_in_other_spellings(
    address: BigQueryAddress, is_table: bool, dotted: str, sql: str
) -> None:
    assert (address.is_table, address.dotted, address.sql) == (is_table, dotted, sql)


@pytest.mark.parametrize("table", ["", "rows"])
def test_with_table_stays_in_the_dataset(table: str) -> None:
    address = BigQueryAddress("example.com:my-shop", "books", table)
    assert str(address.with_table("answers")) == "bq://example.com:my-shop.books.answers"
