"""Requests that are messages of the API and can't be answered all the same."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.testing.vertex_ai.rows.rules import (
    embedding_errors,
    generation_errors,
    text_embedding_errors,
)

FLASH, OLDER = "gemini-3.8-flash", "gemini-2.5-flash"
CONTENTS = [{"parts": [{"text": "x"}]}]
SEARCH = {"googleSearch": {}}
FUNCTIONS = {"functionDeclarations": [{"name": "look_up"}]}
SCHEMA = {"responseMimeType": "application/json", "responseSchema": {"type": "STRING"}}


def _request(**fields: Any) -> dict[str, Any]:
    return {"contents": CONTENTS, **fields}


def _parts(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return _request(generationConfig={"responseMimeType": "application/json", "responseSchema": schema})


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        (FLASH, _request()),
        (FLASH, {"contents": [{"role": "model", "parts": [{"thought": True, "text": "x"}]}]}),
        (FLASH, _request(generationConfig={"temperature": 0, "topP": 1, "maxOutputTokens": 100_000})),
        (FLASH, _parts({"fileData": {"fileUri": "https://a/b", "mimeType": "a/b"}})),
        (FLASH, _schema({"type": "OBJECT", "properties": {"a": {"anyOf": [{"type": "NULL"}]}}})),
        (FLASH, _request(tools=[SEARCH, FUNCTIONS], generationConfig=SCHEMA)),
        (OLDER, _request(tools=[SEARCH])),
        (OLDER, _request(tools=[FUNCTIONS], generationConfig=SCHEMA)),
        ("gemini-1.5-pro", _request(tools=[{"googleSearchRetrieval": {}}])),
        (
            FLASH,
            _request(tools=[{"functionDeclarations": [{"name": "a", "parameters": {"type": "OBJECT"}}]}]),
        ),
    ],
)
def test_answers(model: str, request_: dict[str, Any]) -> None:
    assert list(generation_errors(request_, model)) == []


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "at least one contents field is required"),
        (
            {"contents": [{"role": "tester", "parts": [{"text": "x"}]}]},
            "Please use a valid role: user, model.",
        ),
        ({"contents": [{"parts": []}]}, "must include at least one parts field: contents[0]"),
        (_parts({"thought": True}), "contents[0].parts[0].data: required oneof field 'data'"),
        (_parts({"text": ""}), "it has an empty text parameter: contents[0].parts[0]"),
        (_parts({"fileData": {"fileUri": "gs://a"}}), "file_data.mime_type is required"),
        (_parts({"fileData": {"fileUri": "b.png", "mimeType": "a/b"}}), "Invalid file URI"),
        (_parts({"inlineData": {"mimeType": "a/b"}}), "inline_data.data is required"),
        (_request(systemInstruction={"parts": []}), "at least one parts field: system_instruction"),
        (_request(generationConfig={"temperature": 2.1}), "temperature value of 2.1 but the supported range"),
        (_request(generationConfig={"frequencyPenalty": -3}), "frequencyPenalty value of -3"),
        (_request(generationConfig={"topP": "1.5"}), "topP value of 1.5"),
        (_request(generationConfig={"maxOutputTokens": 0}), "maxOutputTokens value of 0"),
        (_request(generationConfig={"stopSequences": list("abcdef")}), "more than 5 stopSequences"),
        (_request(generationConfig={"responseMimeType": "text/html"}), "a responseMimeType of text/html"),
        (
            _request(generationConfig={"responseSchema": {"type": "STRING"}}),
            "controlled generation needs a responseMimeType",
        ),
        (
            _request(generationConfig={**SCHEMA, "responseJsonSchema": {}}),
            "Only one of response_schema and response_json_schema",
        ),
        (_schema({}), "generation_config.response_schema.type: must be specified"),
        (_schema({"type": "OBJECT"}), "properties: should be non-empty for OBJECT type"),
        (_schema({"type": "ARRAY"}), "response_schema.items: missing field"),
        (_schema({"type": "ARRAY", "items": {"type": "OBJECT"}}), "response_schema.items.properties: should"),
        (_schema({"type": "STRING", "enum": ["a", ""]}), "response_schema.enum[1]: cannot be empty"),
        (
            _schema({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["b"]}),
            "property 'b' is not defined",
        ),
        (_request(tools=[{}]), "tools[0].tool_type: required one_of 'tool_type'"),
        (_request(tools=[{"functionDeclarations": [{}]}]), "function_declarations[0].name"),
        (_request(tools=[{"functionDeclarations": [{"name": "look up"}]}]), "'look up' is not the name"),
        (
            _request(tools=[{"functionDeclarations": [{"name": "a", "parameters": {"type": "STRING"}}]}]),
            "should be of type OBJECT",
        ),
        (_request(tools=[{"googleSearchRetrieval": {}}]), "google_search_retrieval is not supported"),
        (_request(tools=[SEARCH, FUNCTIONS]), "only when they are all search tools"),
        (_request(tools=[SEARCH], generationConfig=SCHEMA), "not supported with google_search tool"),
        (_request(safetySettings=[{"category": "A"}]), "safety_settings[0].threshold is required"),
        (
            _request(safetySettings=[{"category": "A", "threshold": "B"}], modelArmorConfig={}),
            "safety_settings must not be set together with model_armor_config",
        ),
        (_request(labels={"A": "b"}), "Label key 'A' is not valid"),
        (_request(cachedContent="c"), "caching is not supported in batch prediction"),
    ],
)
def test_refuses(request_: dict[str, Any], said: str) -> None:
    assert said in next(generation_errors(request_, OLDER))


@pytest.mark.parametrize(
    ("model", "parts", "said"),
    [
        ("gemini-embedding-001", [{"text": "x"}], None),
        ("gemini-embedding-2", [{"text": "x"}, {"fileData": {}}], None),
        ("gemini-embedding-2", [{"fileData": {}}], None),
        ("gemini-embedding-001", [{"text": "x"}, {"fileData": {}}], "Only text parts can be embedded."),
        ("gemini-embedding-2", [{"text": " "}], "The content is empty"),
        ("gemini-embedding-2", [], "The content is empty"),
    ],
)
def test_contents_of_embeddings(model: str, parts: list[dict[str, Any]], said: str | None) -> None:
    found = next(embedding_errors({"content": {"parts": parts}}, model), None)
    assert found is None if said is None else said in str(found)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"content": "x", "task_type": "RETRIEVAL_DOCUMENT", "title": "t"}, None),
        ({"content": " "}, "is empty"),
        ({"content": 7}, "is empty"),
        (
            {"content": "x", "task_type": "SEARCH"},
            "Unsupported task type 'SEARCH'. Use one of CLASSIFICATION",
        ),
        ({"content": "x", "task_type": "CLUSTERING", "title": "t"}, "only valid with the task type"),
    ],
)
def test_texts(row: dict[str, Any], said: str | None) -> None:
    found = next(text_embedding_errors(row), None)
    assert found is None if said is None else said in str(found)
