"""The server under each reading of what the service leaves open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery
from airflow_gemini_batch.testing.vertex_ai import LocalVertex, Readings
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import PROJECT, VertexCaller, job_body, prompt, prompts

if TYPE_CHECKING:
    from google.cloud import bigquery as bq

EMBEDDING = "publishers/google/models/gemini-embedding-001"


def _line(call: VertexCaller, folder: Folder, row: dict[str, Any], **body: Any) -> dict[str, Any]:
    job = call.run(job_body(folder.write([row]), folder.uri("out"), **body))
    (line,) = folder.predictions(job["outputInfo"]["gcsOutputDirectory"])
    return line


@pytest.mark.parametrize(
    ("readings", "beside", "labels"),
    [
        ({}, {"key": 0, "shelf": {"row": "7"}}, {"key": "l"}),
        ({"echo_key": False}, {}, {"key": "l"}),
        ({"labels_echoed": False}, {"key": 0, "shelf": {"row": "7"}}, None),
        ({"numbers_coerced": False}, {"key": "000000", "shelf": {"row": "7"}}, {"key": "l"}),
    ],
)
def test_what_comes_back(
    vertex: LocalVertex,
    call: VertexCaller,
    folder: Folder,
    readings: dict[str, Any],
    beside: dict[str, Any],
    labels: dict[str, str] | None,
) -> None:
    row = {"key": "000000", "shelf": {"row": "7"}, **prompt("x", labels={"key": "l"})}
    with vertex.readings.changed(**readings):
        line = _line(call, folder, row)
    assert line.keys() - beside.keys() == {"request", "response", "status", "processed_time"}
    assert {name: line[name] for name in beside} == beside
    assert line["request"].get("labels") == labels


@pytest.mark.parametrize(
    ("sent", "back"),
    [
        ("000000", 0),
        ("-7", -7),
        ("+7", 7),
        ("1e5", 100000.0),
        ("0.10", 0.1),
        (".5", 0.5),
        ("5.", 5.0),
        ("9223372036854775808", 9.223372036854775808e18),
        ("1e999", "1e999"),
        *((text, text) for text in ("id-1", "", "1 2", "0x10", "inf", "nan", "1_000", "h-1", "é")),
        (True, True),
        (None, None),
    ],
)
def test_texts_that_look_like_numbers(
    vertex: LocalVertex, call: VertexCaller, folder: Folder, sent: object, back: object
) -> None:
    row = {"key": sent, "request": {"content": {"parts": [{"text": "x"}]}}}
    # The key of an embedding comes back under every reading of the echo.
    with vertex.readings.changed(echo_key=False):
        line = _line(call, folder, row, model=EMBEDDING)
    assert (line["key"], type(line["key"])) == (back, type(back))


@pytest.mark.parametrize(
    ("reading", "response"),
    [("empty", {"response": {}}), ("json_null", {"response": None}), ("absent", {})],
)
def test_response_of_a_failed_row(
    vertex: LocalVertex, call: VertexCaller, folder: Folder, reading: str, response: dict[str, Any]
) -> None:
    vertex.faults.plan("all_rows_failed")
    with vertex.readings.changed(failed_response=reading):
        line = _line(call, folder, prompts(1)[0])
    assert {name: line[name] for name in line.keys() & {"response"}} == response


@pytest.mark.parametrize(
    ("readings", "columns", "kind"),
    [
        ({}, {"id", "request"}, "object"),
        ({"columns_passed": False}, {"request"}, "object"),
        ({"failed_response": "json_null"}, {"id", "request"}, "null"),
        ({"failed_response": "absent"}, {"id", "request"}, None),
    ],
)
def test_tables(
    start_vertex: Callable[..., LocalVertex],
    bigquery_server: LocalBigQuery,
    bigquery: bq.Client,
    readings: dict[str, Any],
    columns: set[str],
    kind: str | None,
) -> None:
    name = "_".join(f"{key}_{value}" for key, value in readings.items()) or "defaults"
    source, target = f"{PROJECT}.shop.asked_{name}", f"{PROJECT}.shop.answered_{name}"
    bigquery.query_and_wait(
        f"CREATE TABLE `{source}` AS SELECT '1' AS id, "
        """'{"contents": [{"role": "nobody", "parts": [{"text": "x"}]}]}' AS request"""
    )
    vertex = start_vertex(bigquery_url=bigquery_server.url, readings=Readings(**readings))
    with VertexCaller(vertex.url) as call:
        call.run(job_body(f"bq://{source}", f"bq://{target}"))
    found = {field.name for field in bigquery.get_table(target).schema}
    assert found - {"response", "status", "processed_time"} == columns
    (row,) = bigquery.query_and_wait(f"SELECT JSON_TYPE(response) AS kind FROM `{target}`")
    assert row["kind"] == kind


def test_is_set_over_http(call: VertexCaller) -> None:
    assert call.control("GET", "readings")["echo_key"] is True
    assert call.control("PATCH", "readings", json={"echo_key": False, "embedding_form": "flat"})
    shown = call.control("GET", "readings")
    assert (shown["echo_key"], shown["embedding_form"], shown["labels_echoed"]) == (False, "flat", True)
    refused = call.send("PATCH", f"{call.url}/local/v1/readings", json={"embedding_form": "round"})
    assert (refused.status_code, "'nested', 'flat'" in refused.text) == (400, True)


def test_knows_no_other_question() -> None:
    readings = Readings()
    with pytest.raises(ValueError, match=r"'echo' is not an open question\. These are: echo_key, "):
        readings.set(labels_echoed=False, echo=True)
    assert readings.labels_echoed
    with pytest.raises(ValueError, match="echo_key: 1 is not one of True, False"):
        Readings(echo_key=1)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError), readings.changed(echo_key=False):
        raise RuntimeError
    assert readings == Readings()


NESTED = {"embedContentConfig": {"outputDimensionality": 64}}
FLAT = {"output_dimensionality": 64}


@pytest.mark.parametrize(
    ("form", "parameters", "length"),
    [
        ("nested", NESTED, 64),
        ("nested", FLAT, 3072),
        ("flat", FLAT, 64),
        ("flat", NESTED, 3072),
        ("nested", {**NESTED, "outputDimensionality": 128}, 64),
        ("flat", {**NESTED, "outputDimensionality": 128}, 128),
        # What is not obeyed is not held against the rules either.
        ("nested", {"title": "t", "taskType": "CLUSTERING"}, 3072),
    ],
)
def test_form_of_embeddings(
    vertex: LocalVertex,
    call: VertexCaller,
    folder: Folder,
    form: str,
    parameters: dict[str, Any],
    length: int,
) -> None:
    row = {"key": "k", "request": {"content": {"parts": [{"text": "x"}]}, **parameters}}
    with vertex.readings.changed(embedding_form=form):
        line = _line(call, folder, row, model=EMBEDDING)
    assert len(line["response"]["embedding"]["values"]) == length


@pytest.mark.parametrize(
    ("reading", "words", "told"),
    [
        ("token_count", 1, {"tokenCount": "2"}),
        ("token_count", 5000, {"tokenCount": "2048"}),
        (
            "usage_metadata",
            1,
            {"usageMetadata": {"promptTokenCount": 2, "totalTokenCount": 2}, "truncated": False},
        ),
        (
            "usage_metadata",
            5000,
            {"usageMetadata": {"promptTokenCount": 2048, "totalTokenCount": 2048}, "truncated": True},
        ),
    ],
)
def test_tokens_of_embeddings(
    vertex: LocalVertex, call: VertexCaller, folder: Folder, reading: str, words: int, told: dict[str, Any]
) -> None:
    row = {"key": "k", "request": {"content": {"parts": [{"text": "word " * words}]}}}
    with vertex.readings.changed(embedding_usage=reading):
        response = _line(call, folder, row, model=EMBEDDING)["response"]
    assert response.pop("embedding")
    assert response == told
