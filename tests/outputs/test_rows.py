from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.rows import classify_output, output_family

VALUES = [0.5, -0.5]
ANSWER = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
CONTENT = {"instance": {"content": "x"}, "predictions": [{"embeddings": {"values": VALUES}}], "status": ""}
REFUSED = 'Bad Request: {"error": {"code": 400, "message": "no"}}'


@pytest.mark.parametrize(
    ("row", "family", "outcome"),
    [
        ({"status": "", "response": ANSWER}, GENERATE_CONTENT, Outcome.OK),
        ({"status": "", "response": {}}, GENERATE_CONTENT, Outcome.MISSING),
        (CONTENT, TEXT_EMBEDDING, Outcome.OK),
        ({**CONTENT, "predictions": []}, TEXT_EMBEDDING, Outcome.MISSING),
        ({**CONTENT, "status": REFUSED}, TEXT_EMBEDDING, Outcome.REJECTED),
        ({"instance": {"content": "x"}, "status": REFUSED}, TEXT_EMBEDDING, Outcome.REJECTED),
        ({"response": {"embedding": {"values": VALUES}}}, GEMINI_EMBEDDING, Outcome.OK),
        ({"response": {"embeddings": [{"values": VALUES}]}}, GEMINI_EMBEDDING, Outcome.OK),
        ({"response": {"embedding": {}}}, GEMINI_EMBEDDING, Outcome.MISSING),
        ({"key": "1", "status": REFUSED, "response": {}}, GENERATE_CONTENT, Outcome.REJECTED),
    ],
)
def test_row_is_sorted_by_what_its_family_gives_back(
    row: dict[str, Any], family: ModelFamily, outcome: Outcome
) -> None:
    assert output_family(row) is family
    assert classify_output(row).outcome is outcome
