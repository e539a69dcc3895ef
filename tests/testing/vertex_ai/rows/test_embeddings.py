"""Both families of embedding models: their rows, their refusals, their vectors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.cloud import bigquery as bq

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.testing.vertex_ai.rows.vectors import embed
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import PROJECT, VertexCaller, job_body

TEXT = "publishers/google/models/text-embedding-005"
GEMINI = "publishers/google/models/gemini-embedding-001"


@pytest.fixture
def call(start_vertex: Callable[..., LocalVertex], bigquery_server: LocalBigQuery) -> Iterator[VertexCaller]:
    vertex = start_vertex(bigquery_url=bigquery_server.url)
    with VertexCaller(vertex.url) as caller:
        yield caller


def _run(
    call: VertexCaller, folder: Folder, rows: list[Any], model: str = TEXT, **fields: Any
) -> list[dict[str, Any]]:
    call.control("POST", "faults", json={"name": "input_order"})
    job = call.run(job_body(folder.write(rows), folder.uri("out"), model=model, **fields))
    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    return folder.predictions(job["outputInfo"]["gcsOutputDirectory"])


def _gemini(text: str, key: str = "k", **config: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"content": {"parts": [{"text": text}]}}
    return {"key": key, "request": request | ({"embed_content_config": config} if config else {})}


def _error(row: dict[str, Any]) -> str:
    return json.loads(row["status"].removeprefix("Bad Request: "))["error"]["message"]


def test_embeds_texts(call: VertexCaller, folder: Folder) -> None:
    rows = [
        {"content": "A book about the sea", "task_type": "RETRIEVAL_DOCUMENT", "title": "Sea", "id": 7},
        {"content": "A book"},
    ]
    first, second = _run(call, folder, rows)
    assert first["instance"] == {
        "content": "A book about the sea",
        "task_type": "RETRIEVAL_DOCUMENT",
        "title": "Sea",
    }
    assert first.keys() == {"instance", "predictions", "status"}
    (prediction,) = first["predictions"]
    assert prediction["embeddings"]["statistics"] == {"token_count": 5, "truncated": False}
    assert len(prediction["embeddings"]["values"]) == 768
    assert (second["instance"], second["status"]) == ({"content": "A book"}, "")


def test_embeds_texts_as_short_as_the_job_asks(call: VertexCaller, folder: Folder) -> None:
    (row,) = _run(call, folder, [{"content": "x"}], modelParameters={"outputDimensionality": "256"})
    assert len(row["predictions"][0]["embeddings"]["values"]) == 256


def test_truncates_long_texts(call: VertexCaller, folder: Folder) -> None:
    (row,) = _run(call, folder, [{"content": "word " * 5000}])
    assert row["predictions"][0]["embeddings"]["statistics"] == {"token_count": 2048, "truncated": True}
    (row,) = _run(call, folder, [{"content": "word " * 5000}], modelParameters={"autoTruncate": False})
    assert "supports up to 2048" in _error(row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"content": "x", "task_type": "SEARCH"}, "Unsupported task type 'SEARCH'"),
        (
            {"content": "x", "task_type": "CLUSTERING", "title": "t"},
            "only valid with the task type RETRIEVAL_DOCUMENT",
        ),
        ({"content": ""}, "content is empty"),
        ({"text": "x"}, "content is empty"),
    ],
)
def test_refuses_texts(call: VertexCaller, folder: Folder, row: dict[str, Any], message: str) -> None:
    good, bad = _run(call, folder, [{"content": "Good"}, row])
    assert good["status"] == ""
    assert message in _error(bad)
    assert bad["predictions"] == []


def test_embeds_a_table(call: VertexCaller, bigquery: bq.Client) -> None:
    source, destination = f"{PROJECT}.shop.texts", f"{PROJECT}.shop.vectors"
    schema = [bq.SchemaField(name, "STRING") for name in ("id", "content", "title", "task_type")]
    bigquery.create_table(bq.Table(source, schema=schema))
    rows = [
        {"id": "1", "content": "A book", "title": "T", "task_type": "RETRIEVAL_DOCUMENT"},
        {"id": "2", "content": "A stone", "title": None, "task_type": None},
    ]
    bigquery.load_table_from_json(rows, source, job_config=bq.LoadJobConfig(schema=schema)).result()

    job = call.run(job_body(f"bq://{source}", f"bq://{destination}", model=TEXT))

    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    columns = {field.name: field.field_type for field in bigquery.get_table(destination).schema}
    # The id is not there: columns that the model does not read are dropped.
    assert columns == {
        "content": "STRING",
        "title": "STRING",
        "task_type": "STRING",
        "predictions": "JSON",
        "status": "STRING",
    }
    found = {row["content"]: row for row in bigquery.list_rows(destination)}
    assert found["A book"]["title"] == "T"
    assert len(found["A stone"]["predictions"][0]["embeddings"]["values"]) == 768


def test_embeds_texts_with_keys(call: VertexCaller, folder: Folder) -> None:
    first, second = _run(
        call,
        folder,
        [
            _gemini("A book", "id_1", output_dimensionality=64, task_type="RETRIEVAL_DOCUMENT", title="t"),
            _gemini("A stone", "id_2"),
        ],
        GEMINI,
    )
    assert first.keys() == {"key", "request", "response"}
    assert (first["key"], second["key"]) == ("id_1", "id_2")
    assert first["request"]["embedContentConfig"]["outputDimensionality"] == 64
    assert first["response"]["tokenCount"] == "2"
    assert len(first["response"]["embedding"]["values"]) == 64
    assert len(second["response"]["embedding"]["values"]) == 3072


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_gemini("x", task_type="SEARCH"), "Invalid value at 'embed_content_config.task_type'"),
        (_gemini("x", task_type="UNSPECIFIED"), "Unsupported task type 'UNSPECIFIED'"),
        (_gemini("x", output_dimensionality=4096), "not a number from 1 to 3072"),
        (_gemini("x", dimensions=3), 'Unknown name "dimensions"'),
        (_gemini(" "), "The content is empty"),
        ({"key": "k", "request": {"contents": []}}, 'Unknown name "contents"'),
        ({"key": "k", "request": {"content": None}}, "The content is empty"),
        (
            {
                "key": "k",
                "request": {"content": {"parts": [{"fileData": {"fileUri": "gs://b/a", "mimeType": "a/b"}}]}},
            },
            "Only text parts",
        ),
    ],
)
def test_refuses_texts_with_keys(
    call: VertexCaller, folder: Folder, row: dict[str, Any], message: str
) -> None:
    good, bad = _run(call, folder, [_gemini("Good"), row], GEMINI)
    assert "status" not in good
    assert message in _error(bad)
    assert (bad["key"], bad["response"]) == ("k", {})


def test_gives_full_vectors_on_request(call: VertexCaller, folder: Folder) -> None:
    call.control("POST", "faults", json={"name": "full_vectors", "times": 2})
    (row,) = _run(call, folder, [_gemini("x", output_dimensionality=64)], GEMINI)
    assert len(row["response"]["embedding"]["values"]) == 3072
    (row,) = _run(call, folder, [{"content": "x"}], modelParameters={"outputDimensionality": "64"})
    assert len(row["predictions"][0]["embeddings"]["values"]) == 768


def test_fails_a_share_of_the_texts(start_vertex: Callable[..., LocalVertex], folder: Folder) -> None:
    failing = VertexCaller(start_vertex(fail_rate=0.5).url)
    rows = _run(failing, folder, [{"content": f"Text {number}"} for number in range(100)])
    assert 25 < sum(bool(row["status"]) for row in rows) < 75


@pytest.mark.parametrize(("model", "rows"), [(TEXT, [{"content": "x"}]), (GEMINI, [_gemini("x")])])
def test_adds_texts_that_nobody_asked_for(
    call: VertexCaller, folder: Folder, model: str, rows: list[dict[str, Any]]
) -> None:
    call.control("POST", "faults", json={"name": "foreign_rows"})
    assert len(_run(call, folder, rows, model)) == 2


@pytest.mark.parametrize(
    ("model", "family", "row"),
    [
        (TEXT, TEXT_EMBEDDING, {"content": "x"}),
        (GEMINI, GEMINI_EMBEDDING, _gemini("x")),
    ],
)
def test_holds_texts_to_their_limit(
    start_vertex: Callable[..., LocalVertex],
    folder: Folder,
    model: str,
    family: ModelFamily,
    row: dict[str, Any],
) -> None:
    call = VertexCaller(start_vertex(max_rows={family: 2}).url)
    job = call.run(job_body(folder.write([row] * 3), folder.uri("out"), model=model))
    assert job["state"] == "JOB_STATE_FAILED"
    assert "The input has 3 rows, more than the limit of 2" in job["error"]["message"]


def test_refuses_texts_of_a_table(call: VertexCaller, bigquery: bq.Client) -> None:
    source, destination = f"{PROJECT}.shop.bad_texts", f"{PROJECT}.shop.bad_vectors"
    schema = [bq.SchemaField(name, "STRING") for name in ("content", "task_type")]
    bigquery.create_table(bq.Table(source, schema=schema))
    rows = [{"content": "A book", "task_type": "SEARCH"}, {"content": " ", "task_type": None}]
    bigquery.load_table_from_json(rows, source, job_config=bq.LoadJobConfig(schema=schema)).result()

    job = call.run(job_body(f"bq://{source}", f"bq://{destination}", model=TEXT))

    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    found = {row["content"]: row for row in bigquery.list_rows(destination)}
    assert "Unsupported task type 'SEARCH'" in _error(found["A book"])
    assert "content is empty" in _error(found[" "])
    assert [row["predictions"] for row in found.values()] == [[], []]


def _likeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_makes_vectors_of_unit_length() -> None:
    for text in ("A book", "x", "…", "日本の本", " word " * 500):
        assert math.hypot(*embed(text, 768)) == pytest.approx(1)


def test_makes_similar_vectors_for_similar_texts() -> None:
    book, books, stone = (
        embed(text, 768)
        for text in (
            "A novel about the sea and a whale",
            "Novels of whales and seas",
            "Recipe for banana bread",
        )
    )
    assert _likeness(book, books) > _likeness(book, stone) + 0.2
    assert embed("A Book", 64) == embed("a  book", 64)
