"""What earlier answers took, told by targets in tables and in files alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.costs.earlier import earlier_usage
from airflow_gemini_batch.outputs.usage import Usage
from tests.support.requests_data import storage_client
from tests.support.tables import bigquery_client, fill, make_dataset

MODEL = "publishers/google/models/gemini-3.8-flash"
COLUMNS = {"book_id": "INT64", "batch_model": "STRING", **dict.fromkeys(TOKEN_COLUMNS, "INT64")}

Target = Callable[..., str]
Row = dict[str, Any]


def row(model: str | None, *counts: int | None) -> Row:
    return {"book_id": 1, "batch_model": model, **dict(zip(TOKEN_COLUMNS, counts, strict=True))}


ROWS = [
    row("gemini-3.8-flash", 100, 40, 360, None, 20),
    row("gemini-3.8-flash-001", 200, 60, None, 50, None),
    row("gemini-3.5-flash-lite", 1000, 1000, 1000, 1000, 1000),
    row(None, None, None, None, None, None),
]


@pytest.fixture
def table(gemini_batch_stack) -> Target:
    def make(rows: Sequence[Row], columns: Sequence[str] = tuple(COLUMNS)) -> str:
        kept = [{name: one[name] for name in columns} for one in rows]
        address = f"{make_dataset(gemini_batch_stack)}.descriptions"
        return fill(gemini_batch_stack, address, {name: COLUMNS[name] for name in columns}, kept)

    return make


@pytest.fixture
def json_lines(tmp_path) -> Target:
    def make(rows: Sequence[Row], columns: Sequence[str] = tuple(COLUMNS)) -> str:
        path = tmp_path / "descriptions.jsonl"
        path.write_text("".join(json.dumps({name: one[name] for name in columns}) + "\n" for one in rows))
        return str(path)

    return make


@pytest.fixture
def parquet(gemini_batch_stack, bucket) -> Target:
    def make(rows: Sequence[Row], columns: Sequence[str] = tuple(COLUMNS)) -> str:
        import pyarrow as pa
        from pyarrow import parquet

        sink = pa.BufferOutputStream()
        parquet.write_table(
            pa.Table.from_pylist([{name: one[name] for name in columns} for one in rows]), sink
        )
        blob = storage_client(gemini_batch_stack).bucket(bucket).blob("descriptions.parquet")
        blob.upload_from_string(sink.getvalue().to_pybytes())
        return f"gs://{bucket}/descriptions.parquet"

    return make


@pytest.fixture(params=["table", "json_lines", "parquet"])
def target(request) -> Target:
    return request.getfixturevalue(request.param)


@pytest.fixture
def found(gemini_batch_stack, caplog):
    def found(target: str) -> Usage:
        return earlier_usage(
            target,
            MODEL,
            storage_client=lambda: storage_client(gemini_batch_stack),
            bigquery_client=lambda: bigquery_client(gemini_batch_stack),
            log=logging.getLogger("earlier"),
        )

    return found


def test_answers_of_the_model_are_added_up(target, found):
    assert found(target(ROWS)) == Usage(2, 300, 100, 360, 50, tool_tokens=20)


def test_target_of_an_earlier_release_lacks_a_column(target, found):
    columns = [name for name in COLUMNS if name != "batch_tool_tokens"]
    assert found(target(ROWS, columns)) == Usage(2, 300, 100, 360, 50)


def test_target_without_bookkeeping_tells_nothing(target, found, caplog):
    assert found(target(ROWS, ["book_id"])) == Usage()
    assert not caplog.records


@pytest.mark.parametrize(
    "absent", ["bq://PROJECT.absent", "gs://BUCKET/absent.jsonl", "/nowhere/absent.parquet"]
)
def test_target_that_is_not_there_yet_tells_nothing(gemini_batch_stack, bucket, found, absent, caplog):
    dataset = make_dataset(gemini_batch_stack).removeprefix("bq://")
    assert found(absent.replace("PROJECT", dataset).replace("BUCKET", bucket)) == Usage()
    assert not caplog.records


def test_target_that_can_t_be_read_stops_nothing(tmp_path, found, caplog):
    path = tmp_path / "broken.parquet"
    path.write_text("this is not Parquet")
    assert found(str(path)) == Usage()
    assert f"What earlier answers took is not known, because target {path} can't be read" in caplog.text
