"""The family of the models that wrote a line."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.outputs.line_families import LineFamily, family_of_row

VALUES = [0.5, -0.5]
ANSWER = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
CONTENT = {"instance": {"content": "x"}, "predictions": [{"embeddings": {"values": VALUES}}], "status": ""}
REFUSED = 'Bad Request: {"error": {"code": 400, "message": "no"}}'


@pytest.mark.parametrize(
    ("row", "family"),
    [
        ({"status": "", "response": ANSWER}, GENERATE_CONTENT),
        ({"status": "", "response": {}}, None),
        (CONTENT, TEXT_EMBEDDING),
        ({**CONTENT, "predictions": []}, TEXT_EMBEDDING),
        ({"instance": {"content": "x"}, "status": REFUSED}, TEXT_EMBEDDING),
        ({"response": {"embedding": {"values": VALUES}}}, GEMINI_EMBEDDING),
        ({"response": {"embeddings": [{"values": VALUES}]}}, GEMINI_EMBEDDING),
        ({"response": orjson.dumps({"embedding": {}}).decode()}, GEMINI_EMBEDDING),
        ({"key": "1", "status": REFUSED, "response": {}}, None),
        ({"response": ["embedding"]}, None),
    ],
)
def test_row_tells_its_family_by_what_it_holds(row: dict[str, Any], family: ModelFamily | None) -> None:
    assert family_of_row(row) is family


def test_lines_count_as_generated_content_until_one_tells() -> None:
    lines = LineFamily()
    assert lines.read(b'{"status": "Bad Request", "response": {}}\n{') is GENERATE_CONTENT
    assert lines.read(orjson.dumps({"response": {"embedding": {}}})) is GEMINI_EMBEDDING
    assert lines.read(orjson.dumps(CONTENT)) is lines.family is GEMINI_EMBEDDING
