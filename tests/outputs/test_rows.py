from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import RequestFormat
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.rows import classify_output, output_format

VALUES = [0.5, -0.5]
ANSWER = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
CONTENT = {"instance": {"content": "x"}, "predictions": [{"embeddings": {"values": VALUES}}], "status": ""}
REFUSED = 'Bad Request: {"error": {"code": 400, "message": "no"}}'


@pytest.mark.parametrize(
    ("row", "format_", "outcome"),
    [
        ({"status": "", "response": ANSWER}, RequestFormat.GENERATE_CONTENT, Outcome.OK),
        ({"status": "", "response": {}}, RequestFormat.GENERATE_CONTENT, Outcome.MISSING),
        (CONTENT, RequestFormat.TEXT_EMBEDDING, Outcome.OK),
        ({**CONTENT, "predictions": []}, RequestFormat.TEXT_EMBEDDING, Outcome.MISSING),
        ({**CONTENT, "status": REFUSED}, RequestFormat.TEXT_EMBEDDING, Outcome.REJECTED),
        ({"instance": {"content": "x"}, "status": REFUSED}, RequestFormat.TEXT_EMBEDDING, Outcome.REJECTED),
        ({"response": {"embedding": {"values": VALUES}}}, RequestFormat.GEMINI_EMBEDDING, Outcome.OK),
        ({"response": {"embeddings": [{"values": VALUES}]}}, RequestFormat.GEMINI_EMBEDDING, Outcome.OK),
        ({"response": {"embedding": {}}}, RequestFormat.GEMINI_EMBEDDING, Outcome.MISSING),
        ({"key": "1", "status": REFUSED, "response": {}}, RequestFormat.GENERATE_CONTENT, Outcome.REJECTED),
    ],
)
def test_row_is_sorted_by_what_its_family_gives_back(
    row: dict[str, Any], format_: RequestFormat, outcome: Outcome
) -> None:
    assert output_format(row) is format_
    assert classify_output(row).outcome is outcome
