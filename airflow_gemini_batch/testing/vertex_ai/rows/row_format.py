"""One input row → one output row: what every family of models shares."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from airflow_gemini_batch.testing.vertex_ai.data.row import Column, InputRow, OutputRow
from airflow_gemini_batch.testing.vertex_ai.errors import RowError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job
from airflow_gemini_batch.testing.vertex_ai.wire.messages import Message
from airflow_gemini_batch.testing.vertex_ai.wire.proto_json import WireError, read

_INVALID = "INVALID_ARGUMENT"
_REASONS = {
    400: "Bad Request: ",
    403: "Forbidden: ",
    404: "Not Found: ",
    429: "RESOURCE_EXHAUSTED error occurred: ",
    500: "Internal Server Error: ",
    503: "Service Unavailable: ",
    504: "Gateway Timeout: ",
}


class RowFormat(Protocol):
    """The rows of one family of models."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that an output table has beside those of the input table."""

    def accepts(self, content: dict[str, Any]) -> bool:
        """Tell whether the row has the family's outer shape; a job without one such row fails as a whole."""

    def answer(self, row: InputRow, job: Job) -> OutputRow:
        """Answer one row; a bad row is answered with its error, never raised."""

    def invented(self, number: int) -> InputRow:
        """Make a good row that no input holds."""


def planned_failure(job: Job) -> RowError | None:
    """Return the error that a fault gives to every row of the job."""
    fault = job.fault("all_rows_failed")
    return RowError(fault["status"], fault["message"]) if fault else None


def row_status(error: RowError | None, job: Job) -> str | dict[str, Any]:
    """Return the ``status`` of a row: empty, or ``<Reason>: {json}`` unless a fault asks for another form."""
    if error is None:
        return ""
    fault = job.fault("status_form")
    match fault["form"] if fault else None:
        case "json":
            return json.dumps(error.rpc_status)
        case "object":
            return error.rpc_status
        case "text":
            return error.message
        case _:
            return _REASONS.get(error.http_status, "") + json.dumps(error.envelope)


def as_read(message: Message, value: object) -> dict[str, Any]:
    """Return a request as the service reads it.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.RowError` when it does not fit the message.
    """
    try:
        return read(value, message)
    except WireError as error:
        raise RowError(_INVALID, str(error)) from error


def refuse(problems: Iterable[str]) -> None:
    """Raise :class:`~airflow_gemini_batch.testing.vertex_ai.errors.RowError` with the first problem, if any."""
    for problem in problems:
        raise RowError(_INVALID, problem)
