"""What users may give for the parts of a request, in each form that means the same."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import types
from pydantic import BaseModel

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.core.response_schema import response_schema_of
from airflow_gemini_batch.requests.forms import check_request
from airflow_gemini_batch.requests.lines import prompt_lines
from airflow_gemini_batch.requests.parameters import request_parts
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import gemini_request


class Book(BaseModel):
    title: str


BRIEF = {"parts": [{"text": "Be brief."}]}
SCHEMA = {"type": "OBJECT", "properties": {"title": {"type": "STRING"}}}
SEARCH = {"googleSearch": {"excludeDomains": ["a.org"]}}
FUNCTION = {"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}
HARM = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}


def _request(**options: Any) -> dict[str, Any]:
    request = gemini_request(PromptTemplate.parse("[[ title ]]"), **options).example()
    checked = check_request(request, GENERATE_CONTENT)
    assert checked.errors == []
    # That nobody calls functions in a batch is not for this test.
    assert [doubt for doubt in checked.doubts if not doubt.startswith("functionDeclarations: nobody")] == []
    return {name: part for name, part in request.items() if name != "contents"}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("Be brief.", id="text"),
        pytest.param(BRIEF, id="Content"),
        pytest.param({"parts": {"text": "Be brief."}}, id="Content-of-one-part"),
        pytest.param({"text": "Be brief."}, id="Part"),
        pytest.param(["Be brief."], id="texts"),
        pytest.param([{"text": "Be brief."}], id="Parts"),
        pytest.param([BRIEF], id="Contents"),
        pytest.param(types.Content(parts=[types.Part(text="Be brief.")]), id="SDK-Content"),
        pytest.param(types.Part.from_text(text="Be brief."), id="SDK-Part"),
        pytest.param([types.Part(text="Be brief.")], id="SDK-Parts"),
        pytest.param({"parts": [types.Part(text="Be brief.")]}, id="mixed"),
    ],
)
def test_system_instruction_may_be_written_in_many_ways(given: Any) -> None:
    assert _request(system_instruction=given) == {"systemInstruction": BRIEF}
    assert request_parts(system_instruction=given).instruction_characters == len("Be brief.")


@pytest.mark.parametrize("given", [None, "", [], {}])
def test_nothing_is_no_system_instruction(given: Any) -> None:
    assert _request(system_instruction=given or None) == {}


def test_system_instruction_keeps_its_role_and_all_parts() -> None:
    given = types.Content(role="system", parts=[types.Part(text="a"), types.Part(text="b")])
    assert _request(system_instruction=given)["systemInstruction"] == {
        "role": "system",
        "parts": [{"text": "a"}, {"text": "b"}],
    }
    assert _request(system_instruction=7)["systemInstruction"] == {"parts": [{"text": "7"}]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"tools": [types.Tool(google_search=types.GoogleSearch(exclude_domains=["a.org"]))]},
            {"tools": [SEARCH]},
        ),
        ({"tools": types.Tool(google_search={"exclude_domains": ["a.org"]})}, {"tools": [SEARCH]}),
        ({"tools": SEARCH}, {"tools": [SEARCH]}),
        ({"tools": [SEARCH]}, {"tools": [SEARCH]}),
        (
            {
                "tools": [
                    types.Tool(
                        function_declarations=[
                            types.FunctionDeclaration(
                                name="f",
                                parameters=types.Schema(
                                    type="OBJECT", properties={"title": {"type": "STRING"}}
                                ),
                            )
                        ]
                    )
                ]
            },
            {"tools": [FUNCTION]},
        ),
        ({"safety_settings": [types.SafetySetting(**HARM)]}, {"safetySettings": [HARM]}),
        ({"safety_settings": types.SafetySetting(**HARM)}, {"safetySettings": [HARM]}),
        ({"safety_settings": (HARM,)}, {"safetySettings": [HARM]}),
        (
            {"generation_config": types.GenerationConfig(temperature=0.5, max_output_tokens=7)},
            {"generationConfig": {"temperature": 0.5, "maxOutputTokens": 7}},
        ),
        (
            {"generation_config": {"thinking_config": types.ThinkingConfig(thinking_budget=0)}},
            {"generationConfig": {"thinking_config": {"thinkingBudget": 0}}},
        ),
        (
            {
                "generation_config": types.GenerateContentConfig(
                    system_instruction="Be brief.",
                    temperature=0.5,
                    tools=[types.Tool(function_declarations=[{"name": "f", "parameters": SCHEMA}])],
                    tool_config={"function_calling_config": {"mode": "AUTO"}},
                    safety_settings=[HARM],
                    media_resolution="MEDIA_RESOLUTION_LOW",
                )
            },
            {
                "systemInstruction": BRIEF,
                "generationConfig": {"temperature": 0.5, "mediaResolution": "MEDIA_RESOLUTION_LOW"},
                "safetySettings": [HARM],
                "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
                "tools": [FUNCTION],
            },
        ),
        (
            {
                "generation_config": types.GenerateContentConfig(
                    response_mime_type="application/json", response_schema=Book
                )
            },
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {
                        **SCHEMA,
                        "propertyOrdering": ["title"],
                        "required": ["title"],
                    },
                }
            },
        ),
        (
            {
                "generation_config": {
                    "responseMimeType": "application/json",
                    "response_schema": types.Schema(**SCHEMA),
                }
            },
            {"generationConfig": {"responseMimeType": "application/json", "response_schema": SCHEMA}},
        ),
        ({"generation_config": {"system_instruction": "Be brief."}}, {"systemInstruction": BRIEF}),
    ],
)
def test_parts_may_be_dicts_or_objects_of_the_sdk(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _request(**options) == expected


def _called() -> None:
    """Not for batch jobs."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system_instruction": {"words": "x"}}, "system_instruction: expected a text, a Content with parts"),
        ({"system_instruction": object()}, "system_instruction: can't send a object"),
        ({"tools": [_called]}, r"tools\[0\]: a batch job can't call <function _called"),
        (
            {"tools": "[]"},
            "tools: expected a list of dicts, got a text, '\\[\\]'. A template gives a text, unless",
        ),
        ({"safety_settings": ["x"]}, "safety_settings: expected a list of dicts, got a text"),
        ({"generation_config": "{'temperature': 0}"}, "generation_config: expected a dict, got a text"),
        ({"generation_config": [1]}, "generation_config: expected a dict, got a list"),
        (
            {"generation_config": {"labels": {"a": "b"}}},
            "generation_config.labels has no place in the requests",
        ),
        ({"generation_config": {"http_options": {}}}, "generation_config.http_options has no place"),
        (
            {"generation_config": {"tools": [SEARCH]}, "tools": [SEARCH]},
            "tools is given twice: as a parameter, and in generation_config",
        ),
        (
            {"generation_config": {"temperature": object()}},
            "generation_config.temperature: can't send a object",
        ),
    ],
)
def test_what_cannot_be_sent_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gemini_request(PromptTemplate.parse("[[ title ]]"), **options)


def test_whole_requests_may_hold_objects_of_the_sdk() -> None:
    own = {
        "contents": [types.Content(role="user", parts=[types.Part(text="a")])],
        "tools": [types.Tool(**SEARCH)],
    }
    (line,) = prompt_lines([own], gemini_request(PromptTemplate.parse("[[ prompt ]]")))
    assert b'"contents":[{"parts":[{"text":"a"}],"role":"user"}]' in line
    assert b'"tools":[{"googleSearch":{"excludeDomains":["a.org"]}}]' in line


@pytest.mark.parametrize(
    "schema",
    [
        types.Schema(type="OBJECT", properties={"title": types.Schema(type="STRING")}),
        {"type": types.Type.OBJECT, "properties": {"title": types.Schema(type=types.Type.STRING)}},
    ],
)
def test_response_schema_may_be_an_object_of_the_sdk(schema: Any) -> None:
    assert response_schema_of(schema) == {**SCHEMA, "propertyOrdering": ["title"]}
