"""Sources that are objects of Python: tables in memory, and paths."""

from __future__ import annotations

import pathlib
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_gemini_batch import BuildGeminiRequestsOperator
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.files.rows import python_rows
from airflow_gemini_batch.requests.sources import row_source
from tests.operators.steps import MODEL, PROMPT, built
from tests.support.requests_data import lines

try:
    from airflow.sdk import ObjectStoragePath
except ImportError:  # Airflow 2
    from airflow.io.path import ObjectStoragePath

COLUMNS = {"isbn": ["978-1", "978-2", "978-3"], "title": ["Emma", None, "Büro"], "year": [1815, 1816, 1817]}
TABLE = pa.table(COLUMNS)
ROWS = TABLE.to_pylist()

DATABASE = duckdb.connect()  # which a relation does not keep open before DuckDB 1.4

TABLES = {
    "pyarrow": lambda: TABLE,
    "pyarrow in chunks": lambda: pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)]),
    "pyarrow, batch by batch": lambda: TABLE.to_reader(),
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas, with an index of its own": lambda: pd.DataFrame(COLUMNS, index=["x", "y", "z"]),
    "duckdb": lambda: DATABASE.from_arrow(TABLE),
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES.keys())
def test_table_gives_its_rows(make):
    found = python_rows(make())
    assert set(found.columns or ()) >= set(COLUMNS)
    assert [{name: row[name] for name in COLUMNS} for row in found.rows] == ROWS


def test_missing_numbers_of_a_data_frame_are_null():
    found = python_rows(pd.DataFrame({"isbn": ["978-1", "978-2"], "price": [1.5, np.nan]}))
    assert [row["price"] for row in found.rows] == [1.5, None]


def test_large_table_is_read_piece_by_piece():
    found = python_rows(pa.table({"isbn": range(2500)}))
    assert [len(list(piece.read()["isbn"])) for piece in found.pieces] == [1000, 1000, 500]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.DataFrame({"isbn": ["978-1", 5]}), "can't be read.*Give each column one type"),
        (
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["isbn", "isbn"]),
            "more than one column 'isbn'",
        ),
    ],
    ids=["mixed types", "one name twice"],
)
def test_table_without_a_meaning_is_refused(table, words):
    with pytest.raises(InvalidRequestError, match=words):
        python_rows(table)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (pathlib.Path("/data/books.csv"), "/data/books.csv"),
        ([pathlib.Path("/data/a.csv"), "/data/b.csv"], ["/data/a.csv", "/data/b.csv"]),
    ],
    ids=["path", "paths"],
)
def test_path_object_is_the_path(given: Any, read: Any):
    assert row_source(given) == row_source(read)


def storage_path(address: str) -> Any:
    try:
        return ObjectStoragePath(address)
    except TypeError as error:
        # Airflow 2.11.0 allows releases of universal_pathlib that it does not work with.
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("given", "read"),
    [("gs://shop/books.csv", "gs://shop/books.csv"), ("file:///data/books.csv", "/data/books.csv")],
)
def test_storage_path_is_the_path(given: str, read: str):
    assert row_source(storage_path(given)) == row_source(read)


def test_connection_of_a_path_is_not_left_out_unseen():
    with pytest.raises(
        InvalidRequestError, match=r"Leave other@ out of the path, and give gcp_conn_id='other'"
    ):
        row_source(storage_path("gs://other@shop/books.csv"))


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES.keys())
def test_operator_builds_requests_of_a_table(gemini_batch_stack, bucket, make):
    (file,) = built(
        make(), requests=f"gs://{bucket}/requests", on_bad_rows="fail", prompt="Describe [[ isbn ]]."
    )
    assert len(lines(gemini_batch_stack, file)) == 3


@pytest.mark.parametrize("source", [pd.DataFrame(COLUMNS), pathlib.Path("books.csv")], ids=["table", "path"])
def test_airflow_renders_no_template_in_an_object(source):
    task = BuildGeminiRequestsOperator(task_id="build", source=source, key="isbn", prompt=PROMPT, model=MODEL)
    task.render_template_fields({})
    assert task.source is source
