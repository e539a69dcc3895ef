from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.lines import PROMPT, prompt_lines
from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate
from airflow_gemini_batch.requests.templates import gemini_request

TEMPLATE = gemini_request(PromptTemplate((Placeholder(PROMPT),)), system_instruction="Be brief.")
REQUEST = {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}


def read(prompts: Any) -> dict[str, Any]:
    """Return the requests by key."""
    lines = map(json.loads, prompt_lines(prompts, TEMPLATE))
    return {text_of_key(line["key"]): line["request"] for line in lines}


def texts(prompts: Any) -> dict[str, str]:
    return {key: request["contents"][0]["parts"][0]["text"] for key, request in read(prompts).items()}


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        pytest.param({"x": "a", "y": "b"}, {"x": "a", "y": "b"}, id="dict"),
        pytest.param(["a", "b"], {"0": "a", "1": "b"}, id="list"),
        pytest.param([("x", "a"), ["y", "b"]], {"x": "a", "y": "b"}, id="pairs"),
        pytest.param((text for text in "ab"), {"0": "a", "1": "b"}, id="generator"),
        pytest.param([(7, "a"), (8.0, "b"), (None, "c")], {"7": "a", "8": "b", "2": "c"}, id="other keys"),
        pytest.param([REQUEST, {"key": "y", "request": REQUEST}], {"0": "a", "y": "a"}, id="requests"),
        pytest.param({"x": REQUEST, "y": "b"}, {"x": "a", "y": "b"}, id="both"),
        pytest.param(
            [('a/b"c', 'say "{{ [[ x ]] }}"\n😀')], {'a/b"c': 'say "{{ [[ x ]] }}"\n😀'}, id="nasty"
        ),
        pytest.param([], {}, id="nothing"),
    ],
)
def test_what_a_function_gives_becomes_a_line_for_each_prompt(prompts: Any, expected: dict[str, str]) -> None:
    assert texts(prompts) == expected


def test_texts_take_the_template_and_whole_requests_are_sent_as_they_are() -> None:
    own = {**REQUEST, "tools": [{"codeExecution": None}], "labels": {"team": "books"}}
    found = read({"text": "a", "whole": own})
    assert found["text"]["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert found["whole"] == own


def test_tool_without_a_field_gets_one() -> None:
    found = read({"a": {**REQUEST, "tools": [{"google_search": {}}, {"enterpriseWebSearch": {}}]}})
    assert found["a"]["tools"] == [
        {"google_search": {"exclude_domains": ["example.com"]}},
        {"enterpriseWebSearch": {"excludeDomains": ["example.com"]}},
    ]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"tools": [{"urlContext": {}}]}, "key 'own': request.tools[].urlContext is an empty object"),
        (
            {"systemInstruction": {"parts": {"text": "x"}}},
            "an object here and a list in the request with the key 'a'",
        ),
        (
            {"generationConfig": {"temperature": "0.5"}},
            "is a text here and a number in the request with the key 'b'",
        ),
        ({"labels": {"cost-center": "7"}}, 'request.labels["cost-center"]: in a file'),
    ],
)
def test_request_that_cannot_be_imported_beside_the_others_is_refused(
    own: dict[str, Any], message: str
) -> None:
    prompts = {
        "a": "text",
        "b": {**REQUEST, "generationConfig": {"temperature": 1}},
        "own": {**REQUEST, **own},
    }
    with pytest.raises(InvalidRequestError) as refused:
        read(prompts)
    assert message in str(refused.value)


def test_requests_of_the_caller_stay_as_they_were() -> None:
    own = {**REQUEST, "labels": {"team": "books"}}
    list(prompt_lines([own], TEMPLATE))
    assert own == {**REQUEST, "labels": {"team": "books"}}


def test_lines_come_one_by_one() -> None:
    asked = []

    def prompts() -> Iterator[str]:
        for text in "ab":
            asked.append(text)
            yield text

    next(prompt_lines(prompts(), TEMPLATE))
    assert asked == ["a"]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        pytest.param("Describe Emma.", "have to be a dict of keys and prompts.*got str", id="one text"),
        pytest.param(None, "got NoneType", id="nothing"),
        pytest.param(7, "got int", id="number"),
        pytest.param(
            [("x", "a"), ("y", "b"), ("x", "c")], "the key 'x' occurs more than once", id="repeated"
        ),
        pytest.param([("1", "a"), "b"], "the key '1' occurs more than once", id="repeated number"),
        pytest.param([("x", " \n")], "the key 'x': the prompt is empty", id="empty"),
        pytest.param([("x", "\ud800")], "the key 'x'.*lone surrogate", id="surrogate"),
        pytest.param([("\ud800", "a")], "lone surrogate", id="surrogate in key"),
        pytest.param([("x", 7)], "the key 'x' is neither a text nor a request with contents: 7", id="number"),
        pytest.param([{"prompt": "a"}], "the key '0' is neither a text nor a request", id="other dict"),
        pytest.param({"contents": []}, "the key 'contents' is neither", id="a request for all"),
        pytest.param([("x", {**REQUEST, "n": {1}})], "the key 'x' can't be written as JSON", id="a set"),
        pytest.param([("x", {**REQUEST, "labels": "a"})], "the key 'x' are not a dict", id="labels"),
    ],
)
def test_what_is_no_prompt_is_named(prompts: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        list(prompt_lines(prompts, TEMPLATE))
