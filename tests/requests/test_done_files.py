"""Rows that are done already, in landed files."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, QUESTION_COLUMN
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.done import Mark, Place, read_done_files
from tests.support.requests_data import storage_client


@pytest.fixture
def files(gemini_batch_stack):
    return storage_client(gemini_batch_stack)


@pytest.fixture
def done(files):
    def done(path: Any, key: tuple[str, ...] = ("isbn",)) -> list[tuple[str, ...]]:
        return [(mark.key, mark.fingerprint) for mark in read_done_files(str(path), key, files)]

    return done


ROWS = [
    {"isbn": 7, "part": "a", "answer": "x", FINGERPRINT_COLUMN: "f1"},
    {"isbn": 8, "part": None, "answer": "x", FINGERPRINT_COLUMN: "f2"},
    {"isbn": 9, "part": "b", "answer": "x", FINGERPRINT_COLUMN: None},
    {"isbn": None, "part": "b", "answer": "x", FINGERPRINT_COLUMN: "f4"},
]


@pytest.fixture(params=["parquet", "jsonl"])
def landed(request, tmp_path):
    path = tmp_path / f"landed.{request.param}"

    def landed(rows):
        if request.param == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return landed


def test_keys_and_fingerprints_are_read(done, landed) -> None:
    assert done(landed(ROWS)) == [("7", "f1"), ("8", "f2")]
    assert done(landed(ROWS), key=("isbn", "part")) == [('["7","a"]', "f1")]


def test_object_is_read(done, files, bucket) -> None:
    content = "".join(json.dumps(row) + "\n" for row in ROWS)
    files.bucket(bucket).blob("landed.jsonl").upload_from_string(content)
    assert done(f"gs://{bucket}/landed.jsonl") == [("7", "f1"), ("8", "f2")]


def test_question_is_read_where_it_is_told(landed, files) -> None:
    rows = [{**row, QUESTION_COLUMN: question} for row, question in zip(ROWS, ("q", None), strict=False)]
    marks = list(read_done_files(str(landed(rows)), ("isbn",), files, Place.ASKED))
    assert marks == [Mark("7", "f1", "asked", "q"), Mark("8", "f2", "asked", "")]


@pytest.mark.parametrize("name", ["absent.parquet", "absent.jsonl"])
def test_target_that_is_not_there_yet_holds_nothing(done, tmp_path, bucket, name) -> None:
    assert done(tmp_path / name) == []
    assert done(f"gs://{bucket}/{name}") == []


def test_empty_target_holds_nothing(done, tmp_path) -> None:
    (tmp_path / "landed.jsonl").write_text("")
    assert done(tmp_path / "landed.jsonl") == []


def test_target_without_bookkeeping_is_refused(done, landed) -> None:
    with pytest.raises(InvalidRequestError, match="it was landed without bookkeeping"):
        done(landed([{"isbn": 7, "answer": "x"}]))


def test_target_without_the_key_is_refused(done, landed) -> None:
    with pytest.raises(InvalidRequestError, match="has no column 'isbn', which the key names"):
        done(landed([{"id": 7, FINGERPRINT_COLUMN: "f1"}]))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("bq://project-1.shop.done", "is not a file: give the file that results land in"),
        ("somewhere", "target: 'somewhere': the kind of file is not known"),
    ],
)
def test_what_is_no_file_is_refused(done, target, message) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        done(target)


def test_unreadable_target_is_not_taken_for_absent(done, tmp_path) -> None:
    (tmp_path / "landed.parquet").write_bytes(b"nonsense")
    with pytest.raises(InvalidRequestError, match="can't be read as Parquet"):
        done(tmp_path / "landed.parquet")
