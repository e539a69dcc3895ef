"""How the server reads JSON, beside how Google's own protobuf library reads it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google.protobuf import json_format

from airflow_gemini_batch.testing.vertex_ai.wire.labels import label_error
from airflow_gemini_batch.testing.vertex_ai.wire.messages import message
from airflow_gemini_batch.testing.vertex_ai.wire.proto_json import WireError, missing, parse, read


def _config(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


def _parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"parts": list(parts)}]}


# A request, and how it is read where that is not as it was sent.
TAKEN: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "nothing": ({}, None),
    "null": ({"cachedContent": None}, {}),
    "snake case": (
        {"system_instruction": {"parts": [{"file_data": {"file_uri": "a"}}]}},
        {"systemInstruction": {"parts": [{"fileData": {"fileUri": "a"}}]}},
    ),
    "numbers as texts": (_config(seed="7", temperature="1.5e-1"), None),
    "whole number as a float": (_config(seed=7.0), None),
    "bounds": (_config(seed=2**31 - 1, responseSchema={"maxItems": str(2**63 - 1)}), None),
    "duration": (_parts({"videoMetadata": {"startOffset": "1.5s"}}), None),
    "bytes": (_parts({"inlineData": {"data": base64.b64encode(b"\xfb\xff").decode()}}), None),
    "map": ({"labels": {"a_b": "c"}}, None),
    "free object": (_parts({"functionCall": {"args": {"a_b": [1, {"c": None}]}}}), None),
    "any value": (_config(responseSchema={"example": [1, "a", None]}), None),
    "enum as a number": ({"safetySettings": [{"category": 1}]}, None),
    "recursion": (_config(responseSchema={"items": {"anyOf": [{"type": "STRING"}]}}), None),
    "model": ({"model": "publishers/google/models/gemini-3.8-flash"}, None),
}
# The service takes more than the library does.
LENIENT: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "one value for a list of one": (
        {"contents": {"parts": {"text": "x"}}},
        {"contents": [{"parts": [{"text": "x"}]}]},
    ),
    "enum in lower case": (
        _config(responseSchema={"type": "object"}),
        _config(responseSchema={"type": "OBJECT"}),
    ),
    "duration in seconds": (_parts({"videoMetadata": {"startOffset": {"seconds": 60}}}), None),
    "seen in batch jobs only": (
        {"tools": [{"google_search": {"time_range_filter": None}}]},
        {"tools": [{"googleSearch": {}}]},
    ),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([], "Invalid value at 'r' (GenerateContentRequest), []"),
    "unknown name": ({"contens": []}, "Unknown name \"contens\" at 'r': Cannot find field."),
    "unknown name inside": (
        _parts({"texts": "x"}),
        "Unknown name \"texts\" at 'r.contents[0].parts[0]': Cannot find field.",
    ),
    "text for a number": (_config(seed="x"), "'r.generation_config.seed' (TYPE_INT32), \"x\""),
    "number too large": (_config(seed=2**31), "'r.generation_config.seed' (TYPE_INT32), 2147483648"),
    "fraction": (_config(seed=1.5), "(TYPE_INT32), 1.5"),
    "truth for a number": (_config(temperature=True), "(TYPE_FLOAT), True"),
    "number for a text": (_parts({"text": 7}), "'r.contents[0].parts[0].text' (TYPE_STRING), 7"),
    "number for truth": (_config(responseLogprobs=1), "(TYPE_BOOL), 1"),
    "enum": (
        _config(responseSchema={"type": "TEXT"}),
        "'r.generation_config.response_schema.type' (TYPE_ENUM)",
    ),
    "duration without unit": (
        _parts({"videoMetadata": {"startOffset": "1"}}),
        "(type.googleapis.com/google.protobuf.Duration)",
    ),
    "no bytes": (_parts({"inlineData": {"data": "§"}}), "(TYPE_BYTES)"),
    "list for a map": ({"labels": ["a"]}, "'r.labels' (map), ['a']"),
    "number in a map": ({"labels": {"a": 7}}, "'r.labels[a]' (TYPE_STRING), 7"),
    "text for a free object": (
        _parts({"functionCall": {"args": "a"}}),
        "(type.googleapis.com/google.protobuf.Struct)",
    ),
    "two of which one may be set": (
        _parts({"text": "x", "inlineData": {}}),
        "Cannot set both 'inline_data' and 'text'",
    ),
    "two spellings": (
        {"toolConfig": {}, "tool_config": {}},
        "'r.tool_config', the field was given in two spellings",
    ),
}


def _google_takes(request: Any) -> bool:
    from google.cloud.aiplatform_v1.types import GenerateContentRequest

    try:
        json_format.ParseDict(request, GenerateContentRequest.pb(GenerateContentRequest()))
    except (json_format.ParseError, AttributeError):  # the latter for a list instead of a message
        return False
    return True


@pytest.mark.parametrize(("sent", "back"), (TAKEN | LENIENT).values(), ids=TAKEN | LENIENT)
def test_takes(sent: dict[str, Any], back: dict[str, Any] | None) -> None:
    assert read(sent, message("GenerateContentRequest")) == (sent if back is None else back)


@pytest.mark.parametrize(("sent", "said"), REFUSED.values(), ids=REFUSED)
def test_refuses(sent: Any, said: str) -> None:
    with pytest.raises(WireError) as error:
        read(sent, message("GenerateContentRequest"), "r")
    assert said in str(error.value)


def test_judges_as_the_protobuf_library_does() -> None:
    taken = {name for name, (sent, *_) in (TAKEN | LENIENT | REFUSED).items() if _google_takes(sent)}
    # It does not look closely at some, as Google's front ends do.
    assert taken - TAKEN.keys() == {"no bytes", "no object", "truth for a number", "two spellings"}
    assert TAKEN.keys() <= taken


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2,], "b": {"c": 1,},}', {"a": [1, 2], "b": {"c": 1}}),
        ('{"a": ",]", "b": "\\\\", \n}', {"a": ",]", "b": "\\"}),
        ('{"a": "\\",}",}', {"a": '",}'}),
        ("[,]", []),
        ("[]", []),
    ],
)
def test_trailing_commas(text: str, value: object) -> None:
    assert parse(text.encode()) == value


@pytest.mark.parametrize("text", ["", "{", '{"a" 1}', "{'a': 1}", "[1,,]", '{"a": "b,}', "// x\n{}"])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(WireError, match=r"Invalid JSON payload received\."):
        parse(text.encode())


@pytest.mark.parametrize(
    ("request_", "paths"),
    [
        ({"contents": [{"parts": [{"text": ""}]}]}, []),
        ({}, ["contents"]),
        ({"contents": [{"parts": []}]}, ["contents[0].parts"]),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "gs://a"}}, {"inlineData": {}}]}]},
            [
                "contents[0].parts[0].file_data.mime_type",
                "contents[0].parts[1].inline_data.data",
                "contents[0].parts[1].inline_data.mime_type",
            ],
        ),
    ],
)
def test_required_fields(request_: dict[str, Any], paths: list[str]) -> None:
    of = message("GenerateContentRequest")
    assert sorted(missing(read(request_, of), of)) == paths


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"a": "", "größe": "日本", "a-b_1": "हिन्दी"}, None),
        ({"": "a"}, "must not be empty"),
        ({"A": "a"}, "Label key 'A' is not valid"),
        ({"a": "a b"}, "Label value 'a b' is not valid"),
        ({"a": "a.b"}, "Label value 'a.b' is not valid"),
        ({"a" * 64: "a"}, "has 64 characters. At most 63"),
        ({str(number): "a" for number in range(65)}, "Too many labels: 65"),
    ],
)
def test_labels(labels: dict[str, str], said: str | None) -> None:
    error = label_error(labels, longest=63)
    assert error is None if said is None else said in str(error)


def test_reading_is_what_the_document_says() -> None:
    job = message("BatchPredictionJob")
    assert job.fields["state"].read_only
    assert job.fields["displayName"].required
    assert not job.fields["model"].read_only
    assert message("GenerationConfig").fields["temperature"].limits == (0, 2)
