"""Rows of the gemini-embedding family: ``{"key", "request"}`` in, the key, the request and its vector out."""

from __future__ import annotations

from typing import Any

import orjson

from airflow_gemini_batch.requests.validation.embed_content import embedded_text, gemini_embedding_faults
from airflow_gemini_batch.requests.validation.fields import EMBED_CONTENT_REQUEST
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
from airflow_gemini_batch.testing.vertex_ai.rows.vectors import MOST_TOKENS, count_tokens, embed, too_long

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
            request = as_read(EMBED_CONTENT_REQUEST, line["request"])
            line["request"] = echoed_request(request)
            line["response"] = self._respond(request, job)
        except RowError as raised:
            error = raised
            line |= {"status": row_status(error, job), "response": {}}
        return OutputRow(line, {}, error.rpc_status if error else None)

    def _respond(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        nested = job.readings.embedding_form == "nested"
        config = request.get("embedContentConfig", {}) if nested else request
        obeyed = {name: config[name] for name in _PARAMETERS if name in config}
        refuse(gemini_embedding_faults({"content": request.get("content", {}), "embedContentConfig": obeyed}))
        text = embedded_text(request)
        full = job.request.model.dimensions
        dimensions = int(obeyed.get("outputDimensionality", full))
        failure = planned_failure(job) or self._failures.decide(
            orjson.dumps(request, option=orjson.OPT_SORT_KEYS), can_block=False
        )
        if failure is not None:
            raise failure
        tokens = count_tokens(text)
        if tokens > MOST_TOKENS and obeyed.get("autoTruncate") is False:
            raise too_long(tokens)
        embedding = {"values": embed(text, full if job.fault("full_vectors") else dimensions)}
        read_tokens = min(tokens, MOST_TOKENS)
        if job.readings.embedding_usage == "token_count":
            return {"tokenCount": str(read_tokens), "embedding": embedding}
        usage = {"promptTokenCount": read_tokens, "totalTokenCount": read_tokens}
        return {"embedding": embedding, "usageMetadata": usage, "truncated": tokens > MOST_TOKENS}
