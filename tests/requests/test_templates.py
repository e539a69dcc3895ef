from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import (
    BadRow,
    BadRowError,
    RequestTemplate,
    TextSlot,
    gemini_request,
)

PROMPT = PromptTemplate.parse("Describe [[ title ]]")


def prompt_of(request: bytes) -> str:
    return json.loads(request)["contents"][0]["parts"][0]["text"]


def test_smallest_request() -> None:
    request = gemini_request(PROMPT).fill({"title": "Emma"})
    assert json.loads(request) == {"contents": [{"role": "user", "parts": [{"text": "Describe Emma"}]}]}


def test_request_holds_everything_that_was_given() -> None:
    template = gemini_request(
        PROMPT,
        system_instruction='Be "brief"',
        generation_config={"temperature": 0.2},
        response_schema={"type": "STRING"},
        safety_settings=[{"category": "C", "threshold": "T"}],
        media={"cover": None, "sound": "audio/wav"},
        tools=[{"googleSearch": {}}],
    )
    row = {"title": "Emma", "cover": "gs://b/a.png", "sound": "https://example.com/a"}
    assert json.loads(template.fill(row)) == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "Describe Emma"},
                    {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/a.png"}},
                    {"fileData": {"mimeType": "audio/wav", "fileUri": "https://example.com/a"}},
                ],
            }
        ],
        "systemInstruction": {"parts": [{"text": 'Be "brief"'}]},
        "generationConfig": {
            "temperature": 0.2,
            "responseMimeType": "application/json",
            "responseSchema": {"type": "STRING"},
        },
        "safetySettings": [{"category": "C", "threshold": "T"}],
        "tools": [{"googleSearch": {}}],
    }


def test_columns_are_those_of_prompt_and_media() -> None:
    template = gemini_request(
        PromptTemplate.parse("[[ a ]] [[ b ]] [[ a ]]"), media={"cover": None, "b": None}
    )
    assert template.columns == ("a", "b", "cover")


@pytest.mark.parametrize(
    "value",
    [
        '"quotes" \\ back\\n',
        "a\nb\r\n\t\0\x7f",
        "}]} {{ ds }} [[ title ]] %s",
        "Ελληνικά العربية 日本語 😀\u2028",
        "'; DROP TABLE books; --",
        "x" * 100_000,
    ],
)
def test_any_value_gives_json_with_that_value(value: str) -> None:
    assert prompt_of(gemini_request(PROMPT).fill({"title": value})) == f"Describe {value}"


@pytest.mark.parametrize("media", [None, ""])
def test_row_without_a_file_is_asked_without_one(media: str | None) -> None:
    request = gemini_request(PROMPT, media={"cover": None}).fill({"title": "Emma", "cover": media})
    assert len(json.loads(request)["contents"][0]["parts"]) == 1


@pytest.mark.parametrize(
    "uri", ["cover.png", "/tmp/a.png", "s3://b/a.png", "gs://b/a.exe", "gs://b/a", 5, ["gs://b/a.png"]]
)
def test_what_is_no_file_of_a_known_type_is_refused(uri: Any) -> None:
    with pytest.raises(BadRowError, match="cover is ") as caught:
        gemini_request(PROMPT, media={"cover": None}).fill({"title": "a", "cover": uri})
    assert caught.value.reason is BadRow.BAD_MEDIA


def test_given_type_needs_no_ending() -> None:
    template = gemini_request(PROMPT, media={"cover": "image/png"})
    assert b'"mimeType":"image/png","fileUri":"gs://b/a"' in template.fill({"cover": "gs://b/a"})


@pytest.mark.parametrize("title", [None, "", " \n\t", "\u3000"])
def test_empty_prompt_is_refused(title: str | None) -> None:
    with pytest.raises(BadRowError, match="the prompt is empty") as caught:
        gemini_request(PromptTemplate.parse(" [[ title ]]\n")).fill({"title": title})
    assert caught.value.reason is BadRow.EMPTY_PROMPT


def test_only_the_prompt_has_to_hold_something() -> None:
    title = PromptTemplate.parse("[[ title ]]")
    template = RequestTemplate(('{"content":', TextSlot(PROMPT), ',"title":', TextSlot(title), "}"), PROMPT)
    assert json.loads(template.fill({})) == {"content": "Describe ", "title": ""}


@pytest.mark.parametrize(
    "row",
    [
        {"title": "\ud800"},
        {"title": "a\udfffb"},
        {"title": ["\ud83d"]},
        {"title": "a", "cover": "gs://b/\ud800.png"},
    ],
)
def test_lone_surrogate_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(BadRowError) as caught:
        gemini_request(PROMPT, media={"cover": None}).fill(row)
    assert caught.value.reason is BadRow.NOT_TEXT


def test_many_rows_are_filled_and_counted_in_order() -> None:
    template = gemini_request(PROMPT, system_instruction="long " * 100, media={"a": None, "b": None})
    rows: list[dict[str, Any]] = [
        {"title": "😀é", "a": "gs://b/1.png", "b": None},
        {"title": None, "a": "gs://b/1.png", "b": "gs://b/2.png"},
        {"title": 7},
    ]
    filled = template.fill_all(rows)
    assert filled.requests == [template.fill(row) for row in rows]
    assert filled.characters == [len("Describe 😀é"), len("Describe "), len("Describe 7")]
    assert filled.media == [1, 2, 0]


def test_no_rows_are_no_requests() -> None:
    assert gemini_request(PROMPT).fill_all([]).requests == []


def test_prompt_without_placeholders_is_the_same_for_all() -> None:
    template = gemini_request(
        PromptTemplate.parse("100 % the same"), generation_config={"stopSequences": ["%s"]}
    )
    requests = template.fill_all([{}, {"a": 1}]).requests
    assert requests == [template.fill({})] * 2
    assert prompt_of(requests[0]) == "100 % the same"
    assert b'["%s"]' in requests[0]


def test_text_without_holes_is_a_request() -> None:
    template = RequestTemplate(('{"contents":[]}',), PromptTemplate.parse("fixed"))
    assert template.fill_all([{}, {}]).requests == [b'{"contents":[]}'] * 2


@pytest.mark.parametrize("bad", [{"title": " "}, {"title": "\ud800"}, {"title": "a", "cover": "x"}])
def test_one_bad_row_refuses_them_all(bad: dict[str, Any]) -> None:
    template = gemini_request(PromptTemplate.parse("[[ title ]]"), media={"cover": None})
    with pytest.raises(BadRowError):
        template.fill_all([{"title": "Emma"}, bad, {"title": "Ida"}])


def test_same_request_is_the_same_bytes() -> None:
    written_otherwise = PromptTemplate.parse("Describe [[ name | Emma ]]")
    assert gemini_request(PROMPT).fill({"title": "Emma"}) == gemini_request(written_otherwise).fill({})
