from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.requests.forms import check_request

OLD, NEW, UNKNOWN = "gemini-2.5-flash", "gemini-3.8-flash", "projects/p/locations/l/endpoints/7"
SCHEMA = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
JSON = {"responseMimeType": "application/json", "responseSchema": SCHEMA}
SEARCH = {"googleSearch": {"excludeDomains": ["example.com"]}}


def _function(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"functionDeclarations": [{"name": name, **fields}]}


def _request(*tools: Any, config: Any = None, **fields: Any) -> dict[str, Any]:
    request = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}], "tools": list(tools), **fields}
    return {**request, "generationConfig": config} if config else request


def _calling(**config: Any) -> dict[str, Any]:
    return {"functionCallingConfig": config}


# The request, its fault or doubt, and what that is for an old, a new and an unknown model: error, doubt, nothing.
COMBINATIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "search and schema": (
        _request(SEARCH, config=JSON),
        "the tool googleSearch together with responseSchema: models before Gemini 3",
        "e-d",
    ),
    "search and JSON": (
        _request({"google_search": {}}, config={"response_mime_type": "application/json"}),
        "googleSearch together with application/json",
        "e-d",
    ),
    "functions and schema": (
        _request(_function(), config=JSON),
        "the tool functionDeclarations together",
        "d-d",
    ),
    "code and schema": (
        _request({"codeExecution": {}}, config=JSON),
        "the tool codeExecution together",
        "d-d",
    ),
    "search and text": (_request(SEARCH, config={"responseMimeType": "text/plain"}), "", "---"),
    "functions beside search": (
        _request(_function(), SEARCH),
        "functionDeclarations beside the tool googleSearch: models take functions alone",
        "edd",
    ),
    "functions and search in one tool": (
        _request({**_function(), **SEARCH}),
        "functionDeclarations beside",
        "edd",
    ),
    "functions beside code": (
        _request(_function(), {"codeExecution": {}}),
        "beside the tool codeExecution",
        "edd",
    ),
    "two search tools": (_request(SEARCH, {"urlContext": {}}), "", "---"),
    "former search": (
        _request({"googleSearchRetrieval": {"dynamicRetrievalConfig": {"mode": "MODE_DYNAMIC"}}}),
        "googleSearchRetrieval, which only Gemini 1 models take: write googleSearch instead",
        "eed",
    ),
    "parameters of another type": (
        _request(_function(parameters={"type": "STRING"})),
        "the function 'f': parameters is of the type STRING, and has to be an OBJECT",
        "eee",
    ),
    "JSON parameters of another type": (
        _request(_function(parametersJsonSchema={"type": "array", "items": {"type": "string"}})),
        "parametersJsonSchema is of the type array",
        "eee",
    ),
    "parameters in lower case": (_request(_function(parameters={**SCHEMA, "type": "object"})), "", "---"),
    "parameters twice": (
        _request(_function(parameters=SCHEMA, parametersJsonSchema={"type": "object"})),
        "has parameters and parametersJsonSchema",
        "eee",
    ),
    "name with a space": (
        _request(_function("get book")),
        "the function 'get book': a name begins with",
        "eee",
    ),
    "name with a digit in front": (_request(_function("1st")), "the function '1st'", "eee"),
    "name of 129 letters": (_request(_function("f" * 129)), "at most 128", "eee"),
    "name with a colon": (_request(_function("shop:get")), "older models take names of at most 64", "ddd"),
    "name with dots and dashes": (_request(_function("shop.get-book_1")), "", "---"),
    "function declared twice": (
        _request(_function(), _function()),
        "the function 'f' is declared twice",
        "eee",
    ),
    "calling without functions": (
        _request(SEARCH, toolConfig=_calling(mode="AUTO")),
        "functionCallingConfig without functionDeclarations",
        "eee",
    ),
    "allowed functions without ANY": (
        _request(_function(), toolConfig=_calling(allowedFunctionNames=["f"])),
        "allowedFunctionNames with the mode AUTO",
        "eee",
    ),
    "allowed but not declared": (
        _request(_function(), toolConfig=_calling(mode="ANY", allowedFunctionNames=["f", "g"])),
        "allowedFunctionNames has 'g', which functionDeclarations does not have",
        "eee",
    ),
    "calling": (
        _request(_function(), toolConfig=_calling(mode="any", allowedFunctionNames=["f"])),
        "",
        "---",
    ),
    "budget and level": (
        _request(config={"thinkingConfig": {"thinkingBudget": 0, "thinkingLevel": "LOW"}}),
        "thinkingBudget together with thinkingLevel",
        "eee",
    ),
    "log probabilities": (_request(config={"logprobs": 3}), "logprobs without responseLogprobs", "ddd"),
    "enum without values": (
        _request(config={"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}),
        "text/x.enum without a responseSchema that lists the values",
        "ddd",
    ),
    "JSON schema": (
        _request(config={"responseMimeType": "application/json", "responseJsonSchema": {"type": "string"}}),
        "responseJsonSchema: batch jobs were seen to ignore it",
        "ddd",
    ),
}


@pytest.mark.parametrize(
    ("place", "model"), list(enumerate((OLD, NEW, UNKNOWN))), ids=("old", "new", "unknown")
)
@pytest.mark.parametrize(("request_", "message", "found"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_names_the_combination(
    request_: dict[str, Any], message: str, found: str, place: int, model: str
) -> None:
    checked = check_request(request_, GENERATE_CONTENT, model)
    doubts = [doubt for doubt in checked.doubts if not doubt.startswith("functionDeclarations: nobody")]
    texts = {"e": checked.errors, "d": doubts}
    for kind, told in texts.items():
        assert len(told) == (kind == found[place]), told
    if found[place] in texts:
        assert message in texts[found[place]][0]
