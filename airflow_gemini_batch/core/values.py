"""Values of rows as text: one rule for prompts and keys. Its twin in SQL is ``requests.bigquery.columns.text_of``."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import orjson


def is_null(value: Any) -> bool:
    """Whether a value is missing: ``None``, or a float that is not a number, as pandas writes a missing one."""
    return value is None or (isinstance(value, float) and value != value)


def text_of(value: Any, default: str = "") -> str:
    """Return a value as text, as BigQuery casts it: ``2008.0`` is ``2008``, ``True`` is ``true``.

    Lists and objects become JSON, bytes base64, dates and times ISO 8601; what :func:`is_null` becomes ``default``.
    """
    if isinstance(value, str):
        return value
    if is_null(value):
        return default
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, (list, tuple, Mapping)):
        return _json_of(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)


def _json_of(value: Any) -> str:
    try:
        return orjson.dumps(value, default=_json_value).decode()
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits, names that are no text, lone surrogates: what the library knows takes longer.
        return json.dumps(value, default=_json_value, ensure_ascii=False, separators=(",", ":"))


def _json_value(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else text_of(value)
