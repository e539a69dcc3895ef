"""Rows of text generation: ``{"request": GenerateContentRequest}`` in, the request and its response out."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from airflow_gemini_batch.testing.vertex_ai.data.row import Column, InputRow, OutputRow
from airflow_gemini_batch.testing.vertex_ai.errors import RowError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job
from airflow_gemini_batch.testing.vertex_ai.rows.echo import echoed_request, echoed_siblings
from airflow_gemini_batch.testing.vertex_ai.rows.failures import BLOCKED, RowFailures
from airflow_gemini_batch.testing.vertex_ai.rows.responder import Responder, complete
from airflow_gemini_batch.testing.vertex_ai.rows.row_format import (
    as_read,
    planned_failure,
    refuse,
    row_status,
)
from airflow_gemini_batch.testing.vertex_ai.rows.rules import generation_errors
from airflow_gemini_batch.testing.vertex_ai.wire.messages import message


class GenerationRows:
    """Checks, answers and echoes rows of a Gemini model.

    :param responder: a checked GenerateContentRequest → a GenerateContentResponse, both camelCase.
    """

    columns = (
        Column("request", "JSON"),
        Column("response", "JSON"),
        Column("status", "STRING"),
        Column("processed_time", "TIMESTAMP"),
    )

    def __init__(self, responder: Responder, failures: RowFailures) -> None:
        self._responder = responder
        self._failures = failures

    def accepts(self, content: dict[str, Any]) -> bool:
        """Tell whether the line has a request at all."""
        return isinstance(content.get("request"), dict)

    def invented(self, number: int) -> InputRow:
        """Make a prompt that nobody has written."""
        parts = [{"text": f"Prompt {number} that no input holds."}]
        labels = {"key": f"nobody-{number}"}
        return InputRow({"request": {"contents": [{"role": "user", "parts": parts}], "labels": labels}})

    def answer(self, row: InputRow, job: Job) -> OutputRow:
        """Return the output row; what of the input comes back is up to the job's readings."""
        echo: Any = row.content.get("request")
        error: RowError | None = None
        response: dict[str, Any] | None = {}
        try:
            request = as_read(message("GenerateContentRequest"), echo)
            echo = echoed_request(request, with_labels=job.readings.labels_echoed)
            refuse(generation_errors(request, job.request.model.short_name))
            response = self._respond(request, job)
        except RowError as raised:
            error = raised
            if job.fault("response_of_failed_rows"):
                response = {"candidates": [], "usageMetadata": {"trafficType": "ON_DEMAND"}}
            elif job.readings.failed_response != "empty":
                response = None
        cells = {
            "status": row_status(error, job),
            "processed_time": datetime.now(UTC).isoformat(),
            "request": echo,
            "response": response,
        }
        line = {**echoed_siblings(row.content, job.readings), **cells}
        if response is None and job.readings.failed_response == "absent":
            del line["response"]
        return OutputRow(line, cells, error.rpc_status if error else None)

    def _respond(self, request: dict[str, Any], job: Job) -> dict[str, Any]:
        failure = planned_failure(job) or self._failures.decide(_asked(request))
        if failure is not None and failure.status != BLOCKED:
            raise failure
        if failure is not None:
            response: dict[str, Any] = {"promptFeedback": {"blockReason": failure.message}}
        else:
            response = self._call_responder(request)
        other = job.fault("other_model")
        version = other["model"] if other else job.request.model.short_name
        return complete(response, request, model_version=version)

    def _call_responder(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._responder(request)
            orjson.dumps(response)
        except RowError:
            raise
        except Exception as error:
            # The responder is the user's code, and the row is where they will look for what it raised.
            where = traceback.extract_tb(error.__traceback__)[-1]
            raise RowError(
                "INTERNAL", f"The responder raised {error!r} at {where.filename}:{where.lineno}."
            ) from error
        if not isinstance(response, dict):
            raise RowError("INTERNAL", f"The responder returned {type(response).__name__}, not a dict.")
        return response


def _asked(request: dict[str, Any]) -> bytes:
    # Labels name the row, not the question: a follow-up job may label it otherwise.
    asked = {name: value for name, value in request.items() if name != "labels"}
    return orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
