"""Rows of all formats: their outer shape, and the requests of embeddings."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import (
    FAMILIES,
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.requests.forms import check_row, request_faults, row_faults

CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]
CONTENT = {"parts": [{"text": "Hello"}]}
FILE = {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/a.png"}}
CHAT = [{"role": "user", "content": "Hello"}]

GENERATE, TEXT, GEMINI = (
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    GEMINI_EMBEDDING,
)


def _embed(text: str = "Hello", **config: Any) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}, "embed_content_config": config}


@pytest.mark.parametrize(
    ("family", "row"),
    [
        (GENERATE, {"request": {"contents": CONTENTS}}),
        (GENERATE, {"request": {"contents": CONTENTS}, "key": "1", "anything": 7}),
        (TEXT, {"content": "Hello", "task_type": "RETRIEVAL_DOCUMENT", "title": "T", "id": 7}),
        (TEXT, {"content": "Hello", "task_type": None, "title": None}),
        (GEMINI, {"key": "1", "request": _embed(output_dimensionality=768, task_type="CLUSTERING")}),
        (GEMINI, {"request": {"content": CONTENT}}),
        (GEMINI, {"request": {"content": CONTENT, "output_dimensionality": 768, "task_type": "CLUSTERING"}}),
        (GEMINI, {"request": {"content": CONTENT, "outputDimensionality": 768, "autoTruncate": False}}),
        (GEMINI, {"request": {**_embed(output_dimensionality=9), "output_dimensionality": 9}}),
        (GEMINI, {"request": _embed(document_ocr=True, audio_track_extraction=False)}),
        (GEMINI, {"request": {"content": {"parts": [FILE]}, "embed_content_config": {}}}),
        (GEMINI, {"request": {"content": {"parts": [{"text": "Emma"}, FILE]}}}),
        (
            GEMINI,
            {
                "request": {
                    "content": {"parts": [{"file_data": {"file_uri": "gs://b/a", "mime_type": "a/b"}}]}
                }
            },
        ),
        (
            GEMINI,
            {"request": {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}},
        ),
    ],
)
def test_accepts(family: ModelFamily, row: dict[str, Any]) -> None:
    assert row_faults(row, family) == []


@pytest.mark.parametrize(
    ("family", "row", "message"),
    [
        (GENERATE, {"contents": CONTENTS}, 'wrap it in {"request": …}'),
        (GENERATE, {"model": "m", "messages": CHAT}, "OpenAI's form"),
        (GENERATE, {"custom_id": "1", "body": {"model": "m", "messages": CHAT}}, "OpenAI's form"),
        (GENERATE, {"content": "Hello"}, 'there is no "request"'),
        (GENERATE, {"Request": {"contents": CONTENTS}}, 'there is no "request"'),
        (GENERATE, {"request": None}, "Invalid value at '' (message)"),
        (GENERATE, {"request": "Hello"}, "Invalid value at '' (message)"),
        (GENERATE, {"request": {"messages": CHAT}}, "OpenAI's form"),
        (TEXT, {"request": _embed()}, "looks like a row for Gemini models"),
        (TEXT, {"text": "Hello"}, 'there is no "content"'),
        (TEXT, {"content": " "}, "The text content is empty"),
        (TEXT, {"content": None}, "The text content is empty"),
        (TEXT, {"content": 7}, "The text content is empty"),
        (TEXT, {"content": "Hello", "task_type": ["CLUSTERING"]}, "Unsupported task type ['CLUSTERING']"),
        (TEXT, {"content": "Hello", "title": "T"}, "only valid with the task type RETRIEVAL_DOCUMENT"),
        (GEMINI, {"key": "1", "content": CONTENT}, 'wrap it in {"request": …}'),
        (GEMINI, {"key": "1", "request": {"contents": CONTENTS}}, "The content is empty"),
        (GEMINI, {"key": "1", "request": _embed("")}, "The content is empty"),
        (GEMINI, {"key": "1", "request": {}}, "The content is empty"),
        (GEMINI, {"key": "1", "request": _embed(task_type="SEARCH")}, "Unsupported task type 'SEARCH'"),
        (GEMINI, {"key": "1", "request": _embed(output_dimensionality=0)}, "not a number from 1 to 3072"),
        (
            GEMINI,
            {"request": {"content": {"parts": [{"functionCall": {"name": "f"}}]}}},
            "The content is empty",
        ),
        (GEMINI, {"request": {"content": CONTENT, "task_type": "SEARCH"}}, "Unsupported task type 'SEARCH'"),
        (
            GEMINI,
            {"request": {"content": CONTENT, "output_dimensionality": 0}},
            "not a number from 1 to 3072",
        ),
        (GEMINI, {"request": {"content": CONTENT, "title": "T"}}, "only valid with the task type"),
        (
            GEMINI,
            {"request": {**_embed(output_dimensionality=8), "output_dimensionality": 9}},
            "outputDimensionality is 9 beside the content and 8 in embed_content_config",
        ),
    ],
)
def test_refuses(family: ModelFamily, row: dict[str, Any], message: str) -> None:
    (fault,) = row_faults(row, family)
    assert message in fault


def test_says_which_field_is_meant() -> None:
    (doubt,) = check_row({"key": "1", "request": {"contents": CONTENTS}}, GEMINI).doubts
    assert doubt == 'this release does not know the field "contents": is content meant?'


def test_names_every_fault() -> None:
    assert len(request_faults(_embed("", task_type="SEARCH", output_dimensionality=9999), GEMINI)) == 3


@pytest.mark.parametrize("family", FAMILIES.values())
@pytest.mark.parametrize("request_", [None, 7, "Hello", [], True])
def test_refuses_what_is_no_object(family: ModelFamily, request_: Any) -> None:
    assert len(request_faults(request_, family)) == 1
