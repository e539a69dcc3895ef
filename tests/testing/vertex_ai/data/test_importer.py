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
    "names": [{"aZ_09": 1, "_": 1, "a" * 300: 1}],
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


TOO_DEEP = "Schema nested too deeply, at least 16 compared to the maximum allowed level of 15"
REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "tool without fields": (
        [prompt("x"), prompt("x", tools=[{"google_search": {}}])],
        "Row 2: Cannot store struct 'request.tools.google_search' with no fields",
    ),
    "empty arguments": ([{"request": {"args": {}}}], "struct 'request.args' with"),
    "empty request": ([{"request": {}}], "struct 'request' with"),
    "empty object in a list": ([prompt("x", tools=[{}])], "struct 'request.tools' with"),
    "empty object beside": ([{**EMBEDDING, "note": {}}], "struct 'note' with"),
    "objects": (
        [_objects(7)],
        TOO_DEEP,
    ),
    "lists of objects": (
        [_lists(5)],
        TOO_DEEP,
    ),
    "name with a space": (
        [_schema({"properties": {"Metric A": {"type": "STRING"}}})],
        'Invalid field name "Metric A". Field: request.generationConfig.responseSchema.properties.Metric A',
    ),
    "name with a dash": ([{"book-id": 1}], 'Invalid field name "book-id"'),
    "name in another script": ([{"größe": 1}], 'Invalid field name "größe"'),
    "name that begins with a digit": ([{"2nd": 1}], 'Invalid field name "2nd"'),
    "long name": ([{"a" * 301: 1}], "Invalid field name"),
    "empty name": ([{"a": {"": 1}}], 'Invalid field name ""'),
    "definitions": ([_schema({"$defs": {"a": {"type": "STRING"}}})], 'Invalid field name "$defs"'),
    "reference": ([_schema({"items": {"$ref": "#/defs/a"}})], 'Invalid field name "$ref"'),
    "number and text": (
        [{"t": 0.5}, {"t": 0.7}, {"t": "0.5"}],
        "Row 3: Could not convert string to number. Field: t",
    ),
    "truth and number": ([{"t": True}, {"t": 1}], "Could not convert number to boolean. Field: t"),
    "one part and a list": (
        [{"parts": [{"text": "x"}]}, {"parts": {"text": "x"}}],
        "Repeated field must be imported as a JSON array. Field: parts",
    ),
    "list of texts and of objects": (
        [{"a": ["b"]}, {"a": [{"c": 1}]}],
        "Could not convert struct to string. Field: a",
    ),
    "two types in one list": ([{"a": [1, "b"]}], "Could not convert string to number. Field: a"),
    "null in an enum": (
        [_schema({"enum": ["a", None]})],
        "Only optional fields can be set to NULL. Field: request.generationConfig.responseSchema.enum",
    ),
    "null in a list of objects": (
        [{"a": [{"b": 1}, None]}],
        "Only optional fields can be set to NULL. Field: a",
    ),
}


@pytest.mark.parametrize(("lines", "message"), REFUSED.values(), ids=REFUSED)
def test_is_not_imported(lines: list[dict[str, Any]], message: str) -> None:
    table = ImportedTable()
    for line in lines[:-1]:
        table.add(line)
    with pytest.raises(JobError) as error:
        table.add(lines[-1])
    assert error.value.rpc_status["code"] == 3
    assert error.value.message.startswith("Failed to import data. Please check 'Prepare input' section")
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
