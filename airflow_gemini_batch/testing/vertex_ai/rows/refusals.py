"""The rules of requests, kept by the server: what they find fault with is refused as one row's error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_gemini_batch.requests.validation.proto_json import Message, WireError, read
from airflow_gemini_batch.testing.vertex_ai.errors import RowError

_STATUS = "INVALID_ARGUMENT"


def as_read(message: Message, value: object) -> dict[str, Any]:
    """Return a request as the service reads it.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.RowError` when it does not fit the message.
    """
    try:
        return read(value, message)
    except WireError as error:
        raise RowError(_STATUS, str(error)) from error


def refuse(faults: Iterable[str]) -> None:
    """Raise :class:`~airflow_gemini_batch.testing.vertex_ai.errors.RowError` with the first fault, if there is one."""
    for fault in faults:
        raise RowError(_STATUS, fault)
