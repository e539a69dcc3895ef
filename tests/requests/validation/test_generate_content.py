from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.requests.forms import check_request, request_faults
from airflow_gemini_batch.requests.validation.fields import GENERATE_CONTENT_REQUEST
from airflow_gemini_batch.requests.validation.proto_json import read


def _faults(request: Any) -> list[str]:
    return request_faults(request, GENERATE_CONTENT)


USER = {"role": "user", "parts": [{"text": "Hello"}]}


def _with(**fields: Any) -> dict[str, Any]:
    return {"contents": [USER], **fields}


def _config(**fields: Any) -> dict[str, Any]:
    return _with(generationConfig=fields)


def _part(**part: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [part]}]}


def _schema(schema: Any, **fields: Any) -> dict[str, Any]:
    return _config(responseMimeType="application/json", responseSchema=schema, **fields)


def _json_schema(schema: Any) -> dict[str, Any]:
    return _config(responseMimeType="application/json", responseJsonSchema=schema)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "OBJECT", "properties": properties}


VIDEO = {"fileUri": "gs://b/a.mp4", "mimeType": "video/mp4"}

ACCEPTED = {
    "text": _with(),
    "parts given as one object": {"contents": {"role": "user", "parts": {"text": "Hello"}}},
    "several turns": {"contents": [USER, {"role": "model", "parts": [{"text": "Hi"}]}, USER]},
    "snake case": _with(
        system_instruction={"parts": [{"text": "Be brief."}]},
        generation_config={"max_output_tokens": 5, "top_p": 0.5},
    ),
    "file": _part(fileData={"fileUri": "gs://b/a.png", "mimeType": "image/png"}),
    "file in snake case": _part(
        file_data={"file_uri": "https://example.com/a.mp4", "mime_type": "video/mp4"}
    ),
    "inline data": _part(inlineData={"mimeType": "image/png", "data": "aGVsbG8="}),
    "explicit nulls": _part(text="Hello", fileData=None, inlineData=None),
    "a clip of a video": _part(fileData=VIDEO, videoMetadata={"startOffset": "1s", "endOffset": "2.5s"}),
    "the edges of the ranges": _config(temperature=2, topP=0, maxOutputTokens=1, candidateCount=8),
    "number as string": _config(maxOutputTokens="64"),
    "schema": _schema(_object(name={"type": "STRING"}, tags={"type": "ARRAY", "items": {"type": "STRING"}})),
    "JSON schema": _config(
        responseMimeType="application/json",
        responseJsonSchema={"$ref": "#/$defs/a", "$defs": {"a": {"type": ["string", "null"]}}},
    ),
    "schema as the documentation writes it": _schema(
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}}
    ),
    "offset as an object": _part(
        fileData=VIDEO,
        videoMetadata={"startOffset": {"seconds": 60}, "endOffset": {"seconds": "90", "nanos": 5}},
    ),
    "enum values in any case": _with(
        safetySettings=[{"category": "harm_category_harassment", "threshold": "off"}],
        generationConfig={"thinkingConfig": {"thinkingLevel": "low"}},
    ),
    "enum": _config(responseMimeType="text/x.enum", responseSchema={"type": "STRING", "enum": ["a", "b"]}),
    "search": _with(tools=[{"googleSearch": {}}]),
    "function": _with(
        tools=[{"functionDeclarations": [{"name": "f", "parameters": _object(a={"type": "STRING"})}]}]
    ),
    "safety": _with(
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]
    ),
    "labels": _with(labels={"key": "b-1_2", "größe": "7"}),
}


@pytest.mark.parametrize("request_", ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(request_: dict[str, Any]) -> None:
    assert _faults(request_) == []


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ("Hello", "Invalid value at '' (message)"),
    "no contents": ({}, "at least one contents field is required"),
    "empty contents": ({"contents": []}, "at least one contents field is required"),
    "unknown role": (
        {"contents": [{"role": "tester", "parts": [{"text": "x"}]}]},
        "Please use a valid role: user, model.",
    ),
    "system as a role": (
        {"contents": [{"role": "system", "parts": [{"text": "x"}]}]},
        "Please use a valid role",
    ),
    "no role": ({"contents": [{"parts": [{"text": "x"}]}]}, "Please use a valid role"),
    "no parts": ({"contents": [{"role": "user"}]}, "contents[0] must include at least one parts field"),
    "empty part": (_part(), "contents[0].parts[0].data: required oneof field 'data'"),
    "empty text": (_part(text=""), "empty text parameter at contents[0].parts[0]"),
    "two kinds of data": (_part(text="x", fileData=VIDEO), "oneof field is already set"),
    "text of another type": (_part(text=7), "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 7"),
    "one field twice": (_with(generationConfig={}, generation_config={}), "set twice"),
    "file without type": (_part(fileData={"fileUri": "gs://b/a.png"}), "must have a mimeType"),
    "type that is none": (
        _part(fileData={"fileUri": "gs://b/a", "mimeType": "png"}),
        "mimeType parameter with value png",
    ),
    "local file": (_part(fileData={"fileUri": "/a.png", "mimeType": "image/png"}), "Invalid file URI"),
    "file without address": (_part(fileData={"mimeType": "image/png"}), "Invalid file URI"),
    "inline data without type": (_part(inlineData={"data": "aGVsbG8="}), "must have a mimeType"),
    "inline data without data": (_part(inlineData={"mimeType": "image/png"}), "has no data"),
    "inline data not in base64": (_part(inlineData={"mimeType": "a/b", "data": "%%"}), "(TYPE_BYTES)"),
    "clip of a picture": (
        _part(
            fileData={"fileUri": "gs://b/a.png", "mimeType": "image/png"}, videoMetadata={"startOffset": "1s"}
        ),
        "does not belong to a video",
    ),
    "offset without unit": (_part(fileData=VIDEO, videoMetadata={"startOffset": 1}), "protobuf.Duration"),
    "too hot": (_config(temperature=2.1), "temperature value of 2.1"),
    "too cold": (_config(temperature=-1), "temperature value of -1"),
    "top p": (_config(topP=1.5), "topP value of 1.5"),
    "no tokens": (_config(maxOutputTokens=0), "maxOutputTokens value of 0"),
    "more tokens than digits": (_config(maxOutputTokens="9" * 5000), "(TYPE_INT32)"),
    "no whole tokens": (_config(maxOutputTokens=1.5), "(TYPE_INT32), 1.5"),
    "schema without response type": (_config(responseSchema={"type": "STRING"}), "needs a responseMimeType"),
    "two schemas": (_schema({"type": "STRING"}, responseJsonSchema={"type": "string"}), "Only one of"),
    "properties in a list": (
        _json_schema({"type": "object", "properties": ["a"]}),
        "properties: must be an object",
    ),
    "required as text": (_json_schema({"type": "object", "required": "a"}), "required: must be a list"),
    "required names as numbers": (
        _json_schema({"type": "object", "properties": {"a": {"type": "string"}}, "required": [{}]}),
        "is not defined",
    ),
    "alternatives as a number": (_json_schema({"anyOf": 5}), "anyOf: must be a list"),
    "type as a number": (_json_schema({"type": 5}), "type: must be a string"),
    "schema of unknown type": (_schema({"type": "TEXT"}), '(Type), "TEXT"'),
    "schema without type": (_schema({"description": "x"}), "response_schema.type: must be specified"),
    "object without properties": (_schema({"type": "OBJECT"}), "should be non-empty for OBJECT type"),
    "list without items": (_schema(_object(a={"type": "ARRAY"})), 'properties["a"].items: missing field'),
    "required but unknown": (
        _schema(_object(a={"type": "STRING"}) | {"required": ["b"]}),
        "property 'b' is not defined",
    ),
    "empty text in an enum": (_schema({"type": "STRING", "enum": ["a", ""]}), "enum: an empty text"),
    "empty text in a nested enum": (
        _schema(_object(a={"type": "ARRAY", "items": {"type": "string", "enum": [""]}})),
        'properties["a"].items.enum: an empty text',
    ),
    "empty tool": (_with(tools=[{}]), "tools[0].tool_type: required one_of 'tool_type'"),
    "function without name": (_with(tools=[{"functionDeclarations": [{}]}]), "function name is required"),
    "harm without threshold": (
        _with(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT"}]),
        "threshold: value is required",
    ),
    "label in upper case": (_with(labels={"Key": "x"}), "Label key 'Key' is not valid"),
    "label that is a number": (_with(labels={"key": 7}), "Invalid value at 'labels[key]' (TYPE_STRING), 7"),
    "label with a space": (_with(labels={"key": "a b"}), "Label value 'a b' is not valid"),
    "label too long": (_with(labels={"key": "x" * 64}), "has 64 characters. At most 63"),
    "cached content": (
        _with(cachedContent="projects/p/locations/l/cachedContents/1"),
        "not supported in batch",
    ),
}


@pytest.mark.parametrize(("request_", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(request_: Any, message: str) -> None:
    assert message in "\n".join(_faults(request_))


DOUBTED: dict[str, tuple[Any, str]] = {
    "unknown field": (_with(prompt="x"), 'does not know the field "prompt"'),
    "misspelt field": (_config(maxOutputToken=5), "at generation_config: is maxOutputTokens meant?"),
    "unknown field of a part": (_part(image="x"), 'the field "image" at contents[0].parts[0]'),
    "unknown tool": (_with(tools=[{"oracle": {}}]), 'the field "oracle" at tools[0]'),
    "unknown harm": (
        _with(safetySettings=[{"category": "HARM_CATEGORY_X", "threshold": "OFF"}]),
        "safety_settings[0].category is 'HARM_CATEGORY_X', which this release does not know",
    ),
    "unknown level": (_config(thinkingConfig={"thinkingLevel": "EXTREME"}), "'EXTREME'"),
    "more tokens than today": (_config(maxOutputTokens=131_072), "maxOutputTokens is 131072, and 65,536 is"),
    "more candidates than today": (_config(candidateCount="16"), "candidateCount is 16, and 8 is"),
    "more stops than today": (_config(stopSequences=list("abcdef")), "stopSequences is 6, and 5 is"),
    "unknown response type": (_config(responseMimeType="text/html"), "responseMimeType is text/html"),
    "unknown schema keyword": (_schema({"type": "STRING", "maxChars": 3}), 'the field "maxChars"'),
    "unknown JSON schema keyword": (
        _json_schema({"type": "object", "properties": {"a": {"type": "string", "if": {}}}}),
        'response_json_schema.properties["a"]: this release does not know the schema keyword "if"',
    ),
    "enum of numbers": (_schema({"type": "INTEGER", "enum": ["1"]}), "an enum of the type INTEGER"),
    "JSON schema": (
        _json_schema({"type": "string"}),
        "responseJsonSchema: batch jobs were seen to ignore it",
    ),
}


@pytest.mark.parametrize(("request_", "message"), DOUBTED.values(), ids=DOUBTED)
def test_only_doubts_what_this_release_does_not_know(request_: Any, message: str) -> None:
    checked = check_request(request_, GENERATE_CONTENT)
    assert checked.errors == []
    assert message in "\n".join(checked.doubts)


def test_names_every_fault() -> None:
    request = {"contents": [{"role": "tester", "parts": [{"text": ""}]}], "cachedContent": "x"}
    assert len(_faults(request)) == 3


def test_normalises_what_it_reads() -> None:
    given = {
        "contents": {
            "role": "user",
            "parts": {"file_data": {"file_uri": "gs://b/a", "mime_type": "a/b"}, "text": None},
        }
    }
    assert read(given, GENERATE_CONTENT_REQUEST) == {
        "contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "gs://b/a", "mimeType": "a/b"}}]}]
    }


def test_names_a_request_that_is_nested_beyond_reading() -> None:
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(900):
        schema = {"type": "ARRAY", "items": schema}
    (fault,) = _faults(_schema(schema))
    assert "nested" in fault
