"""Lines that no table can be made of."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.testing.vertex_ai.data.importer import ImportedTable
from airflow_gemini_batch.testing.vertex_ai.errors import JobError
from tests.testing.vertex_ai.conftest import Folder
from tests.testing.vertex_ai.http import VertexCaller, job_body, prompt

EMBEDDING = {"key": "k", "request": {"content": {"parts": [{"text": "x"}]}}}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return prompt("x", generationConfig={"responseSchema": schema})


def _objects(deep: int) -> dict[str, Any]:
    """A schema of objects inside each other, whose innermost is at level 3 + 2 * ``deep``."""
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(deep):
        schema = {"type": "OBJECT", "properties": {"a": schema}}
    return _schema(schema)


def _lists(deep: int) -> dict[str, Any]:
    """The same with lists of objects; the innermost is at level 3 + 3 * ``deep``."""
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(deep):
        schema = {"type": "OBJECT", "properties": {"a": {"type": "ARRAY", "items": schema}}}
    return _schema(schema)


IMPORTED: dict[str, list[dict[str, Any]]] = {
    "plain": [prompt("x"), prompt("y", labels={"a": "b"})],
    "whole and other numbers": [_schema({"minimum": 0}), _schema({"minimum": 0.5})],
    "null and a text": [{"key": None}, {"key": "a"}],
    "no field but null": [prompt("x", tools=[{"google_search": {"time_range_filter": None}}])],
    "empty list and text": [{"a": []}, {"a": "b"}],
    "fifteen levels": [_objects(6), _lists(4)],
    "names": [{"aZ_09": 1}],
    "both spellings": [{"fileData": {"a": 1}, "file_data": "a"}],
    "output of a job": [
        {**prompt("x"), "response": {}, "status": ""},
        {**prompt("x"), "status": {"code": 8}},
    ],
}


@pytest.mark.parametrize("lines", IMPORTED.values(), ids=IMPORTED)
def test_is_imported(lines: list[dict[str, Any]]) -> None:
    table = ImportedTable()
    for line in lines:
        table.add(line)


REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "tool without fields": (
        [prompt("x"), prompt("x", tools=[{"google_search": {}}])],
        "row 2: Field request.tools[].google_search is of type RECORD but has no schema",
    ),
    "empty arguments": ([{"request": {"args": {}}}], "Field request.args is of type RECORD"),
    "empty request": ([{"request": {}}], "Field request is of type RECORD"),
    "empty object in a list": ([prompt("x", tools=[{}])], "Field request.tools[] is of type RECORD"),
    "empty object beside": ([{**EMBEDDING, "note": {}}], "Field note is of type RECORD"),
    "objects": ([_objects(7)], "is nested more than 15 levels deep"),
    "lists of objects": ([_lists(5)], "is nested more than 15 levels deep"),
    "name with a space": (
        [_schema({"properties": {"Metric A": {"type": "STRING"}}})],
        "Field request.generationConfig.responseSchema.properties.Metric A has a name with other characters",
    ),
    "name with a dash": ([{"book-id": 1}], "Field book-id has a name"),
    "name in another script": ([{"größe": 1}], "Field größe has a name"),
    "empty name": ([{"a": {"": 1}}], "Field a. has a name"),
    "definitions": ([_schema({"$defs": {"a": {"type": "STRING"}}})], "responseSchema.$defs has a name"),
    "reference": ([_schema({"items": {"$ref": "#/defs/a"}})], "responseSchema.items.$ref has a name"),
    "number and text": (
        [{"t": 0.5}, {"t": 0.7}, {"t": "0.5"}],
        "row 3: Field t is a text, and a number before",
    ),
    "truth and number": ([{"t": True}, {"t": 1}], "Field t is a number, and a boolean before"),
    "one part and a list": (
        [{"parts": [{"text": "x"}]}, {"parts": {"text": "x"}}],
        "Field parts is an object, and a list before",
    ),
    "list of texts and of objects": ([{"a": ["b"]}, {"a": [{"c": 1}]}], "Field a[] is an object, and a text"),
    "two types in one list": ([{"a": [1, "b"]}], "Field a[] is a text, and a number before"),
    "null in an enum": (
        [_schema({"enum": ["a", None]})],
        "Field request.generationConfig.responseSchema.enum is a list with a null in it",
    ),
    "null in a list of objects": ([{"a": [{"b": 1}, None]}], "Field a is a list with a null in it"),
}


@pytest.mark.parametrize(("lines", "message"), REFUSED.values(), ids=REFUSED)
def test_is_not_imported(lines: list[dict[str, Any]], message: str) -> None:
    table = ImportedTable()
    for line in lines[:-1]:
        table.add(line)
    with pytest.raises(JobError) as error:
        table.add(lines[-1])
    assert error.value.rpc_status["code"] == 3
    assert error.value.message.startswith("Failed to import data. Error while reading row ")
    assert message in error.value.message


@pytest.mark.parametrize(
    ("model", "line", "bad"),
    [
        ("gemini-3.8-flash", prompt("x"), {"note": {}}),
        ("text-embedding-005", {"content": "x"}, {"content": 7}),
        ("gemini-embedding-001", EMBEDDING, {"book-id": "1"}),
    ],
)
def test_job_of_files_fails_as_a_whole(
    vertex: LocalVertex,
    call: VertexCaller,
    folder: Folder,
    model: str,
    line: dict[str, Any],
    bad: dict[str, Any],
) -> None:
    body = job_body(
        [folder.write([line], "a.jsonl"), folder.write([{**line, **bad}], "b.jsonl")],
        folder.uri("out"),
        model=f"publishers/google/models/{model}",
    )
    created = call.create(body)
    assert created["state"] == "JOB_STATE_PENDING"
    job = call.wait(created)
    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_FAILED", 3)
    assert job["error"]["message"].startswith("Failed to import data. ")
    assert "outputInfo" not in job

    with vertex.readings.changed(importer_rules=False):
        assert call.run(body)["state"] == "JOB_STATE_SUCCEEDED"
