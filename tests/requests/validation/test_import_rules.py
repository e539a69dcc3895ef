from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.requests.validation.import_rules import DEEPEST, ImportedLines, importable_tools

CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]


def _line(**fields: Any) -> dict[str, Any]:
    return {"key": "1", "request": {"contents": CONTENTS, **fields}}


def _schema(schema: Any) -> dict[str, Any]:
    return _line(generationConfig={"responseSchema": schema})


def _faults(*lines: dict[str, Any]) -> list[str]:
    imported = ImportedLines()
    return [
        str(fault) for number, line in enumerate(lines, 1) for fault in imported.add(line, f"line {number}")
    ]


def _objects(count: int) -> dict[str, Any]:
    """Return a schema of so many objects within one another, with a text in the innermost."""
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(count):
        schema = {"type": "OBJECT", "properties": {"a": schema}}
    return schema


def _lists(count: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(count):
        schema = {
            "type": "OBJECT",
            "properties": {"a": {"type": "ARRAY", "items": {"type": "OBJECT", "properties": {"b": schema}}}},
        }
    return schema


IMPORTED: dict[str, list[dict[str, Any]]] = {
    "text": [_line(), _line()],
    "whole and broken numbers": [
        _line(generationConfig={"temperature": 1}),
        _line(generationConfig={"temperature": 0.5}),
    ],
    "null beside any type": [
        _line(systemInstruction=None),
        _line(systemInstruction={"parts": CONTENTS[0]["parts"]}),
        _line(systemInstruction=None),
    ],
    "fields in some lines only": [_line(), _line(labels={"team": "search"}), _line()],
    "a field with null in a tool": [_line(tools=[{"googleSearch": {"timeRangeFilter": None}}])],
    "empty list": [_line(tools=[]), _line(tools=[{"googleSearch": {"excludeDomains": ["a"]}}])],
    "six objects": [
        _schema(_objects(6))
    ],  # request 1, generationConfig 2, responseSchema 3, then two for each
    "three lists of objects": [_schema(_lists(2))],
    "both spellings": [_line(generationConfig={"topP": 1}), _line(generation_config={"top_p": "1"})],
    "text embedding": [{"content": "a", "task_type": "CLUSTERING"}, {"content": "0.5", "title": None}],
    "output of an earlier job": [
        {**_line(), "status": "", "response": {}},
        {**_line(), "status": {"code": 8}, "response": {"candidates": []}},
    ],
    "Gemini embedding": [
        {"key": "1", "request": {"content": {"parts": [{"text": "a"}]}, "output_dimensionality": 8}}
    ],
}


@pytest.mark.parametrize("lines", IMPORTED.values(), ids=IMPORTED)
def test_imports(lines: list[dict[str, Any]]) -> None:
    assert _faults(*lines) == []


TABLE = "or put the requests into a BigQuery table, where this is allowed"
REFUSED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "empty search": (
        [_line(tools=[{"google_search": {}}])],
        "request.tools[].google_search is an empty object, which can't be imported from a file; write "
        '{"exclude_domains": ["example.com"]}, which changes nothing, ' + TABLE,
    ),
    "empty tool without fields": (
        [_line(tools=[{"urlContext": {}}])],
        "request.tools[].urlContext is an empty object, which can't be imported from a file; leave it out, give it a "
        "field, " + TABLE,
    ),
    "empty arguments": (
        [_line(contents=[{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}])],
        "request.contents[].parts[].functionCall.args is an empty object",
    ),
    "empty config": ([_line(generationConfig={})], "request.generationConfig is an empty object"),
    "empty line": ([{}], "the line is an empty object"),
    "seven objects": (
        [_schema(_objects(7))],
        "request.generationConfig.responseSchema"
        + ".properties.a" * 6
        + ".properties is nested more than 15 "
        "objects deep, which can't be imported from a file; flatten the schema, " + TABLE,
    ),
    "three lists of objects too many": ([_schema(_lists(3))], "is nested more than 15 objects deep"),
    "space in a property": (
        [_schema({"type": "OBJECT", "properties": {"Metric A": {"type": "STRING"}}})],
        'request.generationConfig.responseSchema.properties["Metric A"]: in a file, the name of a field holds only '
        "letters a to z, digits and _, and begins with no digit; rename it, " + TABLE,
    ),
    "letter of another alphabet": ([_line(labels={"größe": "7"})], 'request.labels["größe"]: in a file'),
    "dash in a label": ([_line(labels={"cost-center": "7"})], 'request.labels["cost-center"]: in a file'),
    "digit in front": ([_line(labels={"7": "x"})], 'request.labels["7"]: in a file'),
    "name beside the request": ([{**_line(), "my id": 7}], '["my id"]: in a file'),
    "reference": (
        [
            _line(
                generationConfig={
                    "responseJsonSchema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}
                }
            )
        ],
        'request.generationConfig.responseJsonSchema["$defs"]: in a file, the name of a field holds only letters a to '
        "z, digits and _, and begins with no digit; write what it refers to in its place, " + TABLE,
    ),
    "null in an enum": (
        [_schema({"type": "STRING", "nullable": True, "enum": ["a", None]})],
        "request.generationConfig.responseSchema.enum holds null, which a list that is imported from a file can't",
    ),
    "list within a list": (
        [_schema({"type": "ARRAY", "example": [[1]]})],
        "example holds a list within a list",
    ),
    "number and text": (
        [
            _line(generationConfig={"temperature": 0.5}),
            _line(),
            _line(generationConfig={"temperature": "0.5"}),
        ],
        "request.generationConfig.temperature is a text here and a number in line 1, and files are imported with one "
        "type for a field; write it in one form in all lines",
    ),
    "object here and list there": (
        [_line(), _line(contents=[{"role": "user", "parts": {"text": "Hello"}}])],
        "request.contents[].parts is an object here and a list in line 1",
    ),
    "types beside the request": (
        [{**_line(), "key": 7}, _line()],
        "key is a text here and a number in line 1",
    ),
    "truth and number": (
        [_line(), {**_line(), "a": True}, {**_line(), "a": 1}],
        "a is a number here and true or false in line 2",
    ),
    "two types in one line": (
        [_line(tools=[{"functionDeclarations": [{"name": "f"}]}, {"functionDeclarations": {"name": "f"}}])],
        "functionDeclarations is a list here and an object in line 1",
    ),
    "names that differ in case": (
        [_schema({"type": "OBJECT", "properties": {"id": {"type": "STRING"}, "ID": {"type": "STRING"}}})],
        "properties has the fields 'id' and 'ID', which are one when imported",
    ),
    "data in names": (
        [_line(labels={f"a{number}": "x" for number in range(10_001)})],
        "all lines together have more than 10,000 different fields",
    ),
}


@pytest.mark.parametrize(("lines", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(lines: list[dict[str, Any]], message: str) -> None:
    assert message in "\n".join(_faults(*lines))


def test_names_a_reason_once_in_a_line() -> None:
    parts = [{"functionCall": {"name": "f", "args": {}}}] * 3
    assert len(_faults(_line(contents=[{"role": "model", "parts": parts}]))) == 1


def test_reads_a_line_as_deep_as_json_goes() -> None:
    line = json.loads('{"a":' * 900 + "1" + "}" * 900)
    (fault,) = _faults(line)
    assert f"is nested more than {DEEPEST} objects deep" in fault


@pytest.mark.parametrize(
    ("tools", "filled"),
    [
        ([{"googleSearch": {}}], [{"googleSearch": {"excludeDomains": ["example.com"]}}]),
        ([{"google_search": {}}], [{"google_search": {"exclude_domains": ["example.com"]}}]),
        ([{"googleMaps": {}}], [{"googleMaps": {"enableWidget": False}}]),
        (
            [{"googleSearch": {"excludeDomains": ["a.org"]}}],
            [{"googleSearch": {"excludeDomains": ["a.org"]}}],
        ),
        ([{"codeExecution": {}}, 7], [{"codeExecution": {}}, 7]),
    ],
)
def test_fills_tools_with_a_field_that_changes_nothing(tools: list[Any], filled: list[Any]) -> None:
    assert importable_tools(tools) == filled
