"""The prompt of a first request, as people are shown it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.requests.first_prompt import first_prompt, prompt_text
from tests.support.requests_data import upload
from tests.support.tables import fill, make_dataset

ASKED = {"contents": [{"role": "user", "parts": [{"text": "Describe Emma."}]}]}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        pytest.param(ASKED, "Describe Emma.", id="generation"),
        pytest.param(
            {
                "contents": [
                    {
                        "parts": [
                            {"text": "What is on it?"},
                            {
                                "fileData": {
                                    "fileUri": "https://img.example/1.png?X-Goog-Signature=abc",
                                    "mimeType": "x",
                                }
                            },
                        ]
                    }
                ],
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
            },
            "What is on it?\n<https://img.example/1.png>",
            id="signed-address",
        ),
        pytest.param({"content": {"parts": [{"text": "Emma"}]}}, "Emma", id="embedding"),
        pytest.param("Emma", "Emma", id="text"),
        pytest.param(None, "", id="nothing"),
        pytest.param({"contents": 7, "parts": [None]}, "", id="another-shape"),
    ],
)
def test_prompt_is_what_the_model_reads(request_: Any, text: str) -> None:
    assert prompt_text(request_) == text


def read(source: Any, family: Any = GENERATE_CONTENT) -> str:
    hook = GeminiBatchHook()
    return first_prompt(source, family, lambda: hook.storage_client, lambda: hook.bigquery_client)


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
def test_first_row_of_a_table_is_read(gemini_batch_stack, kind):
    request = ASKED if kind == "JSON" else json.dumps(ASKED)
    dataset = make_dataset(gemini_batch_stack)
    rows = [{"isbn": "978-1", "request": request}]
    table = fill(gemini_batch_stack, f"{dataset}.requests", {"isbn": "STRING", "request": kind}, rows)
    assert read(table) == "Describe Emma."
    assert read(f"{dataset}.absent") == ""


def test_first_row_of_a_table_of_texts_is_read(gemini_batch_stack):
    dataset = make_dataset(gemini_batch_stack)
    table = fill(gemini_batch_stack, f"{dataset}.texts", {"content": "STRING"}, [{"content": "Emma"}])
    assert read(table, TEXT_EMBEDDING) == "Emma"


def test_first_line_of_the_first_file_is_read(gemini_batch_stack, bucket):
    file = upload(gemini_batch_stack, bucket, "1.jsonl", [{"request": ASKED}, {"request": {}}])
    assert read([file, f"gs://{bucket}/absent.jsonl"]) == "Describe Emma."
    texts = upload(
        gemini_batch_stack,
        bucket,
        "2.jsonl",
        [{"key": "1", "request": {"content": {"parts": [{"text": "Emma"}]}}}],
    )
    assert read(texts, GEMINI_EMBEDDING) == "Emma"
