"""Values of answers in one form each, so that equal ones are equal wherever they were read. Pure."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.core.values import is_null, text_of

_TRUE_AND_FALSE = {"true": True, "false": False}


def comparable(value: Any, column: AnswerColumn) -> Any:
    """Return a value as one that equals another value of the column exactly if both mean the same.

    Lists become tuples, JSON a text with its fields in order. What is not of the column's type, as in a file of golden
    rows, stays a text. A list that is missing is an empty one, as BigQuery keeps no other.
    """
    if column.repeated:
        return tuple(_single(one, column.type) for one in _items(value))
    single = None if is_null(value) else _single(value, column.type)
    return None if column.type == "JSON" and single == "null" else single


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, (str, bytes, Mapping)):
        return [value]
    return [] if is_null(value) else value


def _single(value: Any, kind: str) -> Any:
    if kind == "JSON":
        return json.dumps(_plain(_parsed(value) if isinstance(value, str) else value), sort_keys=True)
    text = text_of(value)
    try:
        if kind == "INT64" and (number := Decimal(text)) == int(number):
            return int(number)
        if kind == "FLOAT64":
            return float(text) + 0.0  # of -0 and 0 one
    except (ArithmeticError, ValueError):
        return text
    return _TRUE_AND_FALSE.get(text.strip().lower(), text) if kind == "BOOL" else text


def _parsed(text: str) -> Any:
    """Return what a JSON text holds; another text is itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(value: Any) -> Any:
    """Return a value of JSON with each number in one form: 1 and 1.0 are the same, 1 and true are not."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return None if is_null(value) else int(value) if value.is_integer() else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return b64encode(value).decode() if isinstance(value, bytes) else text_of(value)
