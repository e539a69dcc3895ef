"""Rows of the text-embedding family: ``{"content", "task_type", "title"}`` in, the instance and its vector out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from airflow_gemini_batch.testing.vertex_ai.data.row import Column, InputRow, OutputRow
from airflow_gemini_batch.testing.vertex_ai.errors import RowError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job
from airflow_gemini_batch.testing.vertex_ai.rows.failures import RowFailures
from airflow_gemini_batch.testing.vertex_ai.rows.row_format import planned_failure, refuse, row_status
from airflow_gemini_batch.testing.vertex_ai.rows.rules import text_embedding_errors
from airflow_gemini_batch.testing.vertex_ai.rows.vectors import MOST_TOKENS, count_tokens, embed, too_long

_READ = ("content", "task_type", "title")


class TextEmbeddingRows:
    """Embeds texts; the length of the vectors is a parameter of the job."""

    columns = (Column("content", "STRING"), Column("predictions", "JSON"), Column("status", "STRING"))

    def __init__(self, failures: RowFailures) -> None:
        self._failures = failures

    def accepts(self, content: dict[str, Any]) -> bool:
        """Tell whether the line has a text at all."""
        return "content" in content

    def invented(self, number: int) -> InputRow:
        """Make a text that nobody has written."""
        return InputRow({"content": f"Text {number} that no input holds."})

    def answer(self, row: InputRow, job: Job) -> OutputRow:
        """Return the output row; keys other than the three that are read do not come back."""
        instance = {name: row.content[name] for name in _READ if row.content.get(name) is not None}
        error: RowError | None = None
        predictions: list[dict[str, Any]] = []
        try:
            predictions = [{"embeddings": self._embedding(instance, job)}]
        except RowError as raised:
            error = raised
        status = row_status(error, job)
        line = {"instance": instance, "predictions": predictions, "status": status}
        cells = {"content": instance.get("content"), "predictions": predictions, "status": status}
        return OutputRow(line, cells, error.rpc_status if error else None)

    def _embedding(self, instance: Mapping[str, Any], job: Job) -> dict[str, Any]:
        refuse(text_embedding_errors(instance))
        content: str = instance["content"]
        failure = planned_failure(job) or self._failures.decide(
            orjson.dumps(instance, option=orjson.OPT_SORT_KEYS), can_block=False
        )
        if failure is not None:
            raise failure
        tokens = count_tokens(content)
        if tokens > MOST_TOKENS and job.request.parameters.get("autoTruncate") is False:
            raise too_long(tokens)
        return {
            "statistics": {"token_count": min(tokens, MOST_TOKENS), "truncated": tokens > MOST_TOKENS},
            "values": embed(content, self._dimensions(job)),
        }

    def _dimensions(self, job: Job) -> int:
        model = job.request.model
        if job.fault("full_vectors"):
            return model.dimensions
        return int(job.request.parameters.get("outputDimensionality", model.dimensions))
