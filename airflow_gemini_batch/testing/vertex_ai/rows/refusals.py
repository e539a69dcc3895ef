"""The rules of requests, kept by the server: what they find fault with is refused as one row's error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from airflow_gemini_batch.requests.validation.proto_json import WireError
from airflow_gemini_batch.testing.vertex_ai.errors import RowError

_STATUS = "INVALID_ARGUMENT"


def as_read(read: Callable[[object], dict[str, Any]], value: object) -> dict[str, Any]:
    """Return what ``read`` makes of a request.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.RowError` when it does not fit the message.
    """
    try:
        return read(value)
    except WireError as error:
        raise RowError(_STATUS, str(error)) from error


def refuse(faults: Iterable[str]) -> None:
    """Raise :class:`~airflow_gemini_batch.testing.vertex_ai.errors.RowError` with the first fault, if there is one."""
    for fault in faults:
        raise RowError(_STATUS, fault)
