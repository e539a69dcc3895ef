"""Rows of Python iterables, and of files on Cloud Storage."""

from __future__ import annotations

import gzip
import io
from collections import UserDict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.requests.files.rows import python_rows, read_rows
from airflow_gemini_batch.requests.sources import parse_row_source
from tests.support.requests_data import storage_client


@pytest.fixture
def files(gemini_batch_stack):
    return storage_client(gemini_batch_stack)


@pytest.fixture
def put(files, bucket):
    def put(name: str, content: bytes, **properties: Any) -> str:
        blob = files.bucket(bucket).blob(name)
        for property_, value in properties.items():
            setattr(blob, property_, value)
        blob.upload_from_string(content)
        return f"gs://{bucket}/{name}"

    return put


@pytest.fixture
def read(files):
    def read(source: str, *columns: str) -> list[dict[str, Any]]:
        return [dict(row) for row in read_rows(parse_row_source(source), columns, files).rows]

    return read


def test_objects_are_read(put, read, bucket) -> None:
    put("in/a.csv", b"id\n1\n2\n")
    put("in/b.csv", b"id\n3\n")
    put("in/c.jsonl", b'{"id":4}\n')
    assert [row["id"] for row in read(f"gs://{bucket}/in/*.csv", "id")] == ["1", "2", "3"]
    assert read(f"gs://{bucket}/in/c.jsonl", "id") == [{"id": 4}]


def test_parquet_object_of_several_downloads_is_read(put, read) -> None:
    content = io.BytesIO()
    texts = [str(number) * 1000 for number in range(3000)]
    table = pa.table({"id": list(range(3000)), "a": texts})
    pq.write_table(table, content, compression="none", row_group_size=1000)
    assert [row["id"] for row in read(put("a.parquet", content.getvalue()), "id")] == list(range(3000))


@pytest.mark.parametrize("properties", [{}, {"content_encoding": "gzip"}])
def test_packed_object_is_unpacked_here(put, read, properties) -> None:
    # Stored, not made smaller: it takes more than one download.
    lines = (f'{{"id":{number},"text":"{"x" * 5000}"}}\n' for number in range(1000))
    packed = gzip.compress("".join(lines).encode(), compresslevel=0)
    found = read(put("a.jsonl.gz", packed, **properties), "id")
    assert [row["id"] for row in found] == list(range(1000))


def test_truncated_object_names_itself(put, read) -> None:
    uri = put("a.jsonl.gz", gzip.compress(b'{"id":1}\n' * 1000)[:-4])
    with pytest.raises(InvalidRequestError, match=f"{uri}: the gzip file is cut off"):
        read(uri, "id")


@pytest.mark.parametrize("name", ["absent.csv", "absent-*.csv"])
def test_object_that_is_not_there_can_be_waited_for(read, bucket, name) -> None:
    with pytest.raises(SourceNotReadyError, match=f"source gs://{bucket}/absent"):
        read(f"gs://{bucket}/{name}", "id")


def test_object_named_twice_is_read_once(put, files, bucket) -> None:
    put("a.csv", b"id\n1\n")
    source = parse_row_source([f"gs://{bucket}/a.csv", f"gs://{bucket}/*.csv"])
    assert len(list(read_rows(source, ["id"], files).rows)) == 1


def test_source_names_the_columns_before_it_is_read(put, files) -> None:
    uri = put("a.csv", b"id,title\n1,a\n")
    found = read_rows(parse_row_source(uri), ["id"], files)
    assert (found.where, found.columns) == (uri, ("id", "title"))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([{"id": 1}, {"title": "a"}], id="list"),
        pytest.param(iter([{"id": 1}, {"title": "a"}]), id="iterator"),
        pytest.param([UserDict(id=1), UserDict(title="a")], id="other-mappings"),
    ],
)
def test_iterable_is_taken_as_it_is(rows) -> None:
    found = python_rows(rows)
    assert found.columns == ("id", "title")
    assert [dict(row) for row in found.rows] == [{"id": 1}, {"title": "a"}]


def test_iterable_without_rows_has_no_columns() -> None:
    found = python_rows([])
    assert (found.columns, list(found.rows)) == (None, [])


def test_generator_is_not_run_ahead_of_the_reader() -> None:
    asked = []

    def generate():
        for number in range(5000):
            asked.append(number)
            yield {"id": number}

    found = python_rows(generate())
    assert len(asked) == 1000
    assert sum(1 for _ in found.rows) == 5000


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["Emma"], "row 1 is 'Emma', of type str: give a dict"),
        ([{"id": 1}, None], "row 2 is None, of type NoneType: give a dict"),
        ([("id", 1)], "row 1 is \\('id', 1\\), of type tuple"),
        (5, "the rows are 5: give an iterable of dicts"),
        ({"id": 1}, "row 1 is 'id', of type str"),
    ],
)
def test_what_is_no_row_is_refused(rows, message) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        list(python_rows(rows).rows)
