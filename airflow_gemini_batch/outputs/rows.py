"""One row of a job's output, of any family of models → its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.core.model_families import RequestFormat
from airflow_gemini_batch.outputs.classify import RowResult, classify_row
from airflow_gemini_batch.outputs.embeddings import read_embedding


def output_format(row: Mapping[str, Any]) -> RequestFormat:
    """Return the format of the request that a row answers, by what the row holds.

    A failed row of the gemini-embedding family looks like one of generated content, and means the same.
    """
    if "predictions" in row or "instance" in row:
        return RequestFormat.TEXT_EMBEDDING
    response = row.get("response")
    if isinstance(response, Mapping) and ("embedding" in response or "embeddings" in response):
        return RequestFormat.GEMINI_EMBEDDING
    return RequestFormat.GENERATE_CONTENT


def classify_output(row: Mapping[str, Any]) -> RowResult:
    """Sort one line of an output file."""
    format_ = output_format(row)
    if format_ is RequestFormat.GENERATE_CONTENT:
        return classify_row(row.get("status"), row.get("response"))
    return read_embedding(format_, row).result
