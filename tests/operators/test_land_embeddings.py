"""LandEmbeddingsOperator: texts become vectors in a table or in a file, of both families of models."""

from __future__ import annotations

import math
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from pyarrow import parquet

from airflow_gemini_batch import (
    BuildEmbeddingRequestsOperator,
    LandEmbeddingsOperator,
    SubmitTextEmbeddingBatchOperator,
)
from tests.operators.steps import BOOKS, book
from tests.support.requests_data import lines
from tests.support.tables import bigquery_client, fill, make_dataset, read
from tests.support.tasks import TaskInstance, run_task

TEXT, KEYED = "text-embedding-005", "gemini-embedding-001"
# The last two have the same text.
ROWS = [*(book(number) for number in range(3)), book(3, title="Title 2")]


SHELVES = {"shop": "STRING", "number": "INT64", "title": "STRING", "blurb": "STRING"}
SHELVED = [
    {
        "shop": "a",
        "number": 1,
        "title": 'It\'s "new"',
        "blurb": 'He said "hi" \\ {x}\r\n\ttab 😀 你好 </b> &\u2028',
    },
    {"shop": "a", "number": 2, "title": None, "blurb": "plain"},
    {"shop": 'b"]', "number": 1, "title": "[NaN, null]", "blurb": "plain"},
]


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def books(gemini_batch_stack, dataset):
    return fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS)


def asked(source: Any, model: str, dimensions: int | None = None, **arguments: Any) -> list[dict[str, Any]]:
    """Build and submit requests, and return the manifests."""
    of_both = {"model": model, "output_dimensionality": dimensions}
    build = BuildEmbeddingRequestsOperator(
        **{"task_id": "build", "source": source, "key": "isbn", "text": "title", **of_both, **arguments}
    )
    if model == KEYED:
        of_both.pop("output_dimensionality")
    return [
        run_task(
            SubmitTextEmbeddingBatchOperator(task_id="submit", requests=one, poll_interval=0.05, **of_both),
            TaskInstance(task_id="submit", map_index=index),
        )
        for index, one in enumerate(run_task(build))
    ]


def landed(manifest: Any, target: str, **arguments: Any) -> dict[str, Any]:
    settings = {"task_id": "land", "key": "isbn", **arguments}
    report: dict[str, Any] = run_task(LandEmbeddingsOperator(manifest=manifest, target=target, **settings))
    return report


def vectors(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    found = {row["isbn"]: list(row["embedding"]) for row in rows}
    assert found.keys() == {row["isbn"] for row in ROWS}
    assert found["978-2"] == found["978-3"] != found["978-1"]
    assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-5) for vector in found.values())
    return found


def test_texts_of_a_table_become_vectors_in_a_table(gemini_batch_stack, books, dataset):
    target = f"{dataset}.vectors"
    report = landed(asked(books, TEXT), target)
    assert (report["landed"], report["failed"]) == (4, 0)
    rows = read(gemini_batch_stack, target)
    assert {len(vector) for vector in vectors(rows).values()} == {768}
    assert {(row["dimensions"], row["truncated"], row["batch_model"]) for row in rows} == {(768, False, TEXT)}
    assert all(row["token_count"] == row["batch_prompt_tokens"] > 0 for row in rows)
    table = f"`{target.removeprefix('bq://')}`"
    nearest = f"""SELECT near.isbn FROM {table} AS one, {table} AS near WHERE one.isbn = '978-2'
ORDER BY COSINE_DISTANCE(near.embedding, one.embedding), near.isbn LIMIT 2"""
    found = bigquery_client(gemini_batch_stack).query_and_wait(nearest)
    assert [row["isbn"] for row in found] == ["978-2", "978-3"]


@pytest.mark.parametrize("model", [TEXT, KEYED])
@pytest.mark.parametrize("kind", ["table", "parquet", "jsonl"])
def test_texts_in_files_become_vectors(gemini_batch_stack, bucket, dataset, tmp_path, model, kind):
    manifests = asked(ROWS, model, 64, requests=f"gs://{bucket}/requests")
    targets = {
        "table": f"{dataset}.vectors",
        "parquet": str(tmp_path / "vectors.parquet"),
        "jsonl": f"gs://{bucket}/vectors.jsonl",
    }
    target = targets[kind]
    assert landed(manifests, target, output_dimensionality=64)["landed"] == 4
    if kind == "table":
        rows = read(gemini_batch_stack, target)
    elif kind == "parquet":
        rows = parquet.read_table(target).to_pylist()
    else:
        rows = lines(gemini_batch_stack, target)
    assert {len(vector) for vector in vectors(rows).values()} == {64}


@pytest.mark.parametrize("model", [TEXT, KEYED])
def test_rows_that_are_landed_are_not_asked_again(bucket, dataset, model):
    target, destination = f"{dataset}.vectors", f"gs://{bucket}/requests"
    landed(asked(ROWS[:3], model, 64, requests=destination), target, output_dimensionality=64)
    again = asked(ROWS, model, 64, requests=destination, target=target)
    assert sum(sum(one["counts"].values()) for one in again) == 1


def test_rows_of_a_table_that_are_landed_are_not_asked_again(books, dataset):
    target = f"{dataset}.vectors"
    landed(asked(books, TEXT, 64), target, output_dimensionality=64)
    with pytest.raises(AirflowSkipException, match="no new rows"):
        asked(books, TEXT, 64, target=target)
    assert len(asked(books, TEXT, target=target)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"output_dimensionality": 64},
        {"output_dimensionality": 64, "title": "title"},
        {"output_dimensionality": 64, "request_format": "flat"},
    ],
    ids=["nothing", "length", "title", "flat"],
)
def test_texts_of_a_table_become_vectors_in_a_table_by_way_of_files(
    gemini_batch_stack, bucket, dataset, settings
):
    shelves = fill(gemini_batch_stack, f"{dataset}.shelves", SHELVES, SHELVED)
    target = f"{dataset}.vectors"
    two_columns = {"key": ["shop", "number"], "text": "[[ blurb ]]", "target": target, **settings}
    (manifest,) = asked(shelves, KEYED, requests=f"gs://{bucket}/requests", **two_columns)
    length = settings.get("output_dimensionality")
    report = landed([manifest], target, key=["shop", "number"], output_dimensionality=length)
    assert (report["landed"], report["failed"]) == (3, 0)

    rows = {(row["shop"], row["number"]): row for row in read(gemini_batch_stack, target)}
    assert rows.keys() == {(row["shop"], str(row["number"])) for row in SHELVED}
    assert {row["dimensions"] for row in rows.values()} == {length or 3072}
    if "title" not in settings:
        assert rows["a", "2"]["embedding"] == rows['b"]', "1"]["embedding"] != rows["a", "1"]["embedding"]
    for source in (shelves, SHELVED):
        with pytest.raises(AirflowSkipException, match="no new rows"):
            asked(source, KEYED, requests=f"gs://{bucket}/again", **two_columns)


def test_vectors_that_came_longer_than_asked_are_cut(gemini_batch_stack, bucket, dataset):
    gemini_batch_stack.vertex.faults.plan("full_vectors")
    manifests = asked(ROWS, KEYED, 2048, requests=f"gs://{bucket}/requests")
    landed(manifests, f"{dataset}.vectors", output_dimensionality=2048)
    rows = read(gemini_batch_stack, f"{dataset}.vectors")
    assert {len(vector) for vector in vectors(rows).values()} == {2048}


def test_column_may_have_another_name(gemini_batch_stack, books, dataset):
    landed(asked(books, TEXT), f"{dataset}.vectors", vector_column="title_vector", bookkeeping=False)
    (row, *_) = read(gemini_batch_stack, f"{dataset}.vectors")
    assert list(row) == ["isbn", "title_vector", "token_count", "truncated", "dimensions"]


def manifest(model: str = TEXT) -> dict[str, Any]:
    one = {"job_name": "j", "state": "JOB_STATE_SUCCEEDED", "counts": {}, "source": ["bq://p.d.in"]}
    rounds = [{**one, "output": "bq://p.d.out"}]
    return {
        "version": 1,
        "identity": "i",
        "model": f"publishers/google/models/{model}",
        "console_url": "",
        "counts": {},
        "rounds": rounds,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"manifest": manifest("gemini-3.8-flash")}, "generates text: use the operators for Gemini"),
        ({"manifest": manifest("my-embedding-1")}, "give request_format='text_embedding' or"),
        (
            {"manifest": manifest(), "request_format": "gemini_embedding"},
            "reads text_embedding: leave it out",
        ),
        ({"manifest": [manifest(), manifest("text-embedding-004")]}, "of several models"),
        ({"manifest": manifest(), "output_dimensionality": 0}, "give a whole number from 1 to 768"),
        ({"manifest": manifest(), "key": "dimensions"}, "two columns 'dimensions'"),
        ({"manifest": manifest(KEYED)}, "read and write files only"),
    ],
)
def test_parameters_that_do_not_go_together_are_told(gemini_batch_stack, dataset, arguments, message):
    settings = {"task_id": "land", "key": "isbn", "target": f"{dataset}.vectors", **arguments}
    with pytest.raises(AirflowFailException, match=message):
        run_task(LandEmbeddingsOperator(**settings))
