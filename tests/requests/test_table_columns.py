from __future__ import annotations

import pytest

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.requests.forms import column_faults

GENERATE, TEXT = GENERATE_CONTENT, TEXT_EMBEDDING


@pytest.mark.parametrize(
    ("family", "columns"),
    [
        (GENERATE, {"request": "JSON", "id": "INTEGER", "sold": "TIMESTAMP"}),
        (GENERATE, {"request": "STRING"}),
        (TEXT, {"content": "STRING", "tags": "ARRAY", "response": "STRING"}),
    ],
)
def test_accepts(family: ModelFamily, columns: dict[str, str]) -> None:
    assert list(column_faults(columns.items(), family)) == []


@pytest.mark.parametrize(
    ("family", "columns", "faults"),
    [
        (GENERATE, {"prompt": "STRING"}, ["there is no column 'request' (JSON or STRING)"]),
        (GENERATE, {"request": "ARRAY"}, ["column 'request' is ARRAY, not JSON or STRING"]),
        (TEXT, {"content": "JSON"}, ["column 'content' is JSON, not STRING"]),
        (TEXT, {"content": "STRING", "predictions": "JSON"}, ["column 'predictions' has a reserved name"]),
        (
            GENERATE,
            {"request": "JSON", "a": "ARRAY", "b": "RECORD", "c": "RANGE", "d": "DATETIME", "e": "GEOGRAPHY"},
            [
                "column 'a' has the unsupported type ARRAY",
                "column 'b' has the unsupported type RECORD",
                "column 'c' has the unsupported type RANGE",
                "column 'd' has the unsupported type DATETIME",
                "column 'e' has the unsupported type GEOGRAPHY",
            ],
        ),
        (
            GENERATE,
            {"request": "JSON", "Status": "STRING", "response": "JSON"},
            ["column 'Status' has a reserved name", "column 'response' has a reserved name"],
        ),
    ],
)
def test_refuses(family: ModelFamily, columns: dict[str, str], faults: list[str]) -> None:
    assert list(column_faults(columns.items(), family)) == faults
