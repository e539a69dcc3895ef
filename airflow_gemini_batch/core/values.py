"""Values of rows as text, spelled as BigQuery spells them, so that a row has one fingerprint wherever it is read.

The twin in SQL is ``requests.bigquery.expressions.text_of``.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

_json_string = json.JSONEncoder(ensure_ascii=False).encode
# Integers that a floating-point number holds exactly; BigQuery writes larger ones into JSON as strings.
_EXACT = 2**53


def is_null(value: Any) -> bool:
    """Whether a value is missing: ``None``, or not equal to itself, as pandas writes a missing number or date."""
    return value is None or (isinstance(value, (float, date, Decimal)) and value != value)


def text_of(value: Any, default: str = "") -> str:
    """Return a value as BigQuery's ``CAST(… AS STRING)`` writes it, ``default`` for NULL.

    Bytes become base64, lists and objects JSON as ``TO_JSON_STRING`` writes it, objects with their fields in order.
    """
    if isinstance(value, str):
        return value
    if is_null(value):
        return default
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, Decimal):
        return _decimal_text(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, (list, tuple, Mapping)):
        return json_text(value)
    if isinstance(value, datetime):
        return _clock_text(value).replace("T", " ") + ("+00" if value.tzinfo else "")
    if isinstance(value, time):
        return _clock_text(value)
    return str(value)


def json_text(value: Any) -> str:
    """Return a value as BigQuery's ``TO_JSON_STRING`` writes it; missing values become ``null``."""
    if is_null(value):
        return "null"
    if isinstance(value, Mapping):
        fields = (f"{json_text(text_of(name, 'null'))}:{json_text(inner)}" for name, inner in value.items())
        return f"{{{','.join(fields)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(json_text, value))}]"
    if isinstance(value, float) and abs(value) == float("inf"):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, (bool, float)):
        return text_of(value)
    if isinstance(value, (int, Decimal)) and -_EXACT <= value <= _EXACT and value == int(value):
        return text_of(value)
    if isinstance(value, datetime):
        return f'"{_clock_text(value)}{"Z" if value.tzinfo else ""}"'
    # json escapes neither of the two line separators.
    return _json_string(text_of(value)).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _float_text(value: float) -> str:
    text = f"{value:.15g}"
    if float(text) != value:
        text = f"{value:.17g}"
    return "0" if text == "-0" else text


def _decimal_text(value: Decimal) -> str:
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _clock_text(value: datetime | time) -> str:
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)
    # Fractions of a second come in groups of three digits.
    digits = (
        "microseconds" if value.microsecond % 1000 else "milliseconds" if value.microsecond else "seconds"
    )
    return value.replace(tzinfo=None).isoformat(timespec=digits)
