"""Rows of the gemini-embedding family: ``{"key", "request"}`` in, the key, the request and its vector out."""

from __future__ import annotations

from typing import Any

import orjson

from airflow_gemini_batch.testing.vertex_ai.data.row import Column, InputRow, OutputRow
from airflow_gemini_batch.testing.vertex_ai.errors import RowError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job
from airflow_gemini_batch.testing.vertex_ai.rows.echo import echoed_request, echoed_siblings
from airflow_gemini_batch.testing.vertex_ai.rows.failures import RowFailures
from airflow_gemini_batch.testing.vertex_ai.rows.row_format import (
    as_read,
    planned_failure,
    refuse,
    row_status,
)
from airflow_gemini_batch.testing.vertex_ai.rows.rules import embedding_errors
from airflow_gemini_batch.testing.vertex_ai.rows.vectors import MOST_TOKENS, count_tokens, embed, too_long
from airflow_gemini_batch.testing.vertex_ai.wire.messages import message

_PARAMETERS = ("autoTruncate", "outputDimensionality", "taskType", "title")


class GeminiEmbeddingRows:
    """Embeds texts; each row says how long its vector is to be."""

    # Files only: there is no output table.
    columns: tuple[Column, ...] = ()

    def __init__(self, failures: RowFailures) -> None:
        self._failures = failures

    def accepts(self, content: dict[str, Any]) -> bool:
        """Tell whether the line has a request at all."""
        return isinstance(content.get("request"), dict)

    def invented(self, number: int) -> InputRow:
        """Make a text that nobody has written."""
        request = {"content": {"parts": [{"text": f"Text {number} that no input holds."}]}}
        return InputRow({"key": f"nobody-{number}", "request": request})

    def answer(self, row: InputRow, job: Job) -> OutputRow:
        """Return the output row; it has a status only when it failed."""
        line = echoed_siblings(row.content, job.readings, always=("key",))
        line["request"] = row.content.get("request")
        error: RowError | None = None
        try:
            request = as_read(message("EmbedContentRequest"), line["request"])
            line["request"] = echoed_request(request)
            line["response"] = self._respond(request, job)
        except RowError as raised:
            error = raised
            line |= {"status": row_status(error, job), "response": {}}
        return OutputRow(line, {}, error.rpc_status if error else None)

    def _respond(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        model = job.request.model
        nested = job.readings.embedding_form == "nested"
        config = request.get("embedContentConfig", {}) if nested else request
        obeyed = {name: config[name] for name in _PARAMETERS if name in config}
        refuse(
            embedding_errors(
                {"content": request.get("content", {}), "embedContentConfig": obeyed}, model.short_name
            )
        )
        dimensions = int(obeyed.get("outputDimensionality", model.dimensions))
        if not 1 <= dimensions <= model.dimensions:
            raise RowError(
                "INVALID_ARGUMENT",
                f"output_dimensionality is {dimensions}, not a number from 1 to {model.dimensions}.",
            )
        failure = planned_failure(job) or self._failures.decide(
            orjson.dumps(request, option=orjson.OPT_SORT_KEYS), can_block=False
        )
        if failure is not None:
            raise failure
        text = _text(request)
        tokens = count_tokens(text)
        if tokens > MOST_TOKENS and obeyed.get("autoTruncate") is False:
            raise too_long(tokens)
        values = embed(text, model.dimensions if job.fault("full_vectors") else dimensions)
        answer: dict[str, Any] = {"embedding": {"values": values}}
        read_tokens = min(tokens, MOST_TOKENS)
        if job.readings.embedding_usage == "token_count":
            return {"tokenCount": str(read_tokens), **answer}
        usage = {"promptTokenCount": read_tokens, "totalTokenCount": read_tokens}
        return {**answer, "usageMetadata": usage, "truncated": tokens > MOST_TOKENS}


def _text(request: dict[str, Any]) -> str:
    """Return the texts of a request, and for media their addresses or contents, with a space between two."""
    parts = request["content"]["parts"]
    return " ".join(part["text"] if "text" in part else orjson.dumps(part).decode() for part in parts)
