from __future__ import annotations

import pytest

from airflow_gemini_batch.core.model_families import RequestFormat, format_of


@pytest.mark.parametrize(
    ("model", "request_format"),
    [
        ("gemini-2.5-flash", RequestFormat.GENERATE_CONTENT),
        ("publishers/google/models/gemini-2.5-flash", RequestFormat.GENERATE_CONTENT),
        ("projects/p/locations/us-central1/models/123", RequestFormat.GENERATE_CONTENT),
        ("text-embedding-005", RequestFormat.TEXT_EMBEDDING),
        ("publishers/google/models/text-embedding-004", RequestFormat.TEXT_EMBEDDING),
        ("text-multilingual-embedding-002", RequestFormat.TEXT_EMBEDDING),
        ("textembedding-gecko@003", RequestFormat.TEXT_EMBEDDING),
        ("textembedding-gecko-multilingual@001", RequestFormat.TEXT_EMBEDDING),
        ("gemini-embedding-001", RequestFormat.GEMINI_EMBEDDING),
        ("gemini-embedding-2-preview", RequestFormat.GEMINI_EMBEDDING),
        ("multimodalembedding@001", None),
        ("embedding-next", None),
    ],
)
def test_model_decides_the_format(model: str, request_format: RequestFormat | None) -> None:
    assert format_of(model) is request_format


def test_formats_have_limits_of_their_own() -> None:
    assert {one.value: (one.max_rows, one.takes_tables, one.dimensions) for one in RequestFormat} == {
        "generate_content": (200_000, True, 0),
        "text_embedding": (30_000, True, 768),
        "gemini_embedding": (1_000_000, False, 3072),
    }
