"""What is likely to be lost is told before a job."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT
from airflow_gemini_batch.preflight.requests import RequestSample
from airflow_gemini_batch.requests.forms import check_request

FUNCTIONS = {"tools": [{"functionDeclarations": [{"name": "f"}]}]}
CALLING = "toolConfig"
FUNCTION_DOUBT = "functionDeclarations: nobody calls the functions in a batch job"


def asked(**fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}], **fields}


def with_modalities(*modalities: str) -> dict[str, Any]:
    return asked(generation_config={"response_modalities": list(modalities)})


@pytest.mark.parametrize(
    ("request_", "doubt"),
    [
        (asked(**FUNCTIONS), FUNCTION_DOUBT),
        (asked(tools=[{"function_declarations": [{"name": "f"}]}]), FUNCTION_DOUBT),
        (asked(**FUNCTIONS, toolConfig={"functionCallingConfig": {"mode": "ANY"}}), FUNCTION_DOUBT),
        (asked(**FUNCTIONS, toolConfig={"functionCallingConfig": {"mode": "NONE"}}), ""),
        (asked(tools=[{"googleSearch": {"excludeDomains": ["example.com"]}}]), ""),
        (with_modalities("IMAGE"), "responseModalities IMAGE: an answer without any text is invalid"),
        (with_modalities("AUDIO"), "responseModalities AUDIO: an answer without any text is invalid"),
        (with_modalities("TEXT", "IMAGE"), ""),
        (with_modalities(), ""),
        (asked(), ""),
    ],
)
def test_request_that_is_likely_to_get_no_text_is_told(request_: dict[str, Any], doubt: str) -> None:
    checked = check_request(request_, GENERATE_CONTENT, "gemini-3.8-flash")
    assert not checked.errors
    assert [one.startswith(doubt) for one in checked.doubts] == ([True] if doubt else [])


@pytest.mark.parametrize(
    ("text", "model", "tokens"),
    [
        ("word " * 1_638, "gemini-embedding-001", ""),
        (
            "word " * 1_640,
            "gemini-embedding-001",
            "about 2,050 tokens: gemini-embedding-001 reads the first 2,048",
        ),
        ("\u8a9e" * 3_000, "gemini-embedding-001", "about 2,250 tokens"),
        ("word " * 1_640, "publishers/google/models/gemini-embedding-2", ""),
        (
            "word " * 8_000,
            "gemini-embedding-2",
            "about 10,000 tokens: gemini-embedding-2 reads the first 8,192",
        ),
        ("word " * 1_640, "", "the model reads the first 2,048"),
    ],
)
def test_text_that_is_likely_to_be_cut_is_told(text: str, model: str, tokens: str) -> None:
    checked = check_request({"content": {"parts": [{"text": text}]}}, GEMINI_EMBEDDING, model)
    assert not checked.errors
    assert [tokens in one for one in checked.doubts] == ([True] if tokens else [])


def test_preflight_of_a_job_warns_of_both() -> None:
    for family, row in (
        (GENERATE_CONTENT, {"request": asked(**FUNCTIONS)}),
        (GEMINI_EMBEDDING, {"request": {"content": {"parts": [{"text": "word " * 1_640}]}}}),
    ):
        sample = RequestSample(family)
        sample.add_table_rows([row])
        assert [(str(one.severity), "row 1" in str(one)) for one in sample.findings(0.0)] == [
            ("warning", True)
        ]
