"""The outcome and the tokens of one line of an output file, of any family of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, ModelFamily
from airflow_gemini_batch.outputs.classify import RowResult, classify_row, decoded
from airflow_gemini_batch.outputs.embeddings import VECTOR_FORMS, read_embedding
from airflow_gemini_batch.outputs.usage import ModelUsage, Usage, usage_of


def output_family(row: Mapping[str, Any]) -> ModelFamily:
    """Return the family of the model that wrote a row, by what the row holds."""
    for family, form in VECTOR_FORMS.items():
        if form.wrote(row):
            return family
    return GENERATE_CONTENT


def classify_output(row: Mapping[str, Any]) -> RowResult:
    """Sort one line of an output file."""
    family = output_family(row)
    if family.embeds:
        return read_embedding(family, row).result
    return classify_row(row.get("status"), row.get("response"), row.get("error"))


def row_usage(row: Mapping[str, Any]) -> ModelUsage:
    """Return the model version and the token counts of one line of an output file.

    The version is empty if the row does not name it: embedding models never do.
    """
    family = output_family(row)
    answer = decoded(row.get(family.answer_column))
    if family.embeds:
        return ModelUsage("", VECTOR_FORMS[family].usage(answer))
    return usage_of(answer) if isinstance(answer, dict) else ModelUsage("", Usage())
