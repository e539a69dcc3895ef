"""The key of a row, and how it travels with the row's request.

In tables the key's columns pass through the job, with their types. In a file each request carries its key once, as
``key`` beside it. What stands there may come back with another type, ``000000`` as the number 0, so the text is sent
between :data:`KEY_BEFORE` and :data:`KEY_AFTER`: nothing reads ``key=000000;`` as anything but text. Keys are bare in
lines that others wrote, and in those of earlier releases.

Nothing of the key is among the request's labels. Labels reach Cloud Billing and request logs, and matching can do
without: an answer whose key did not come back is matched by the content of its request.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

import orjson

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.values import is_null, json_text, text_of

OLD_KEY_LABEL = "gemini_batch_key"
"""Label that earlier releases gave to requests: the key, or a digest of it. No part of what they ask."""

KEY_BEFORE, KEY_AFTER = "key=", ";"

_OLD_HASHED = "h-"
_OLD_LABEL = re.compile(rf"(?!{_OLD_HASHED})[a-z0-9_-]{{1,63}}")

# What readers take for another type than text.
_NOT_TEXT = frozenset(
    {"", "null", "none", "nan", "true", "false", "yes", "no", "on", "off", "t", "f", "y", "n"}
)
_DATE = re.compile(r"\d{1,4}[-/.:]\d{1,2}(?:[-/.:T ]|$)")
_JSON = ("{", "[", '"')


def key_text(values: Sequence[Any]) -> str:
    """Return a row's key as one text: the value itself, or a JSON list of texts when there are several columns.

    Raises :class:`ValueError` if a value is NULL.
    """
    if any(map(is_null, values)):
        raise ValueError("the key is NULL")
    texts = [text_of(value) for value in values]
    return texts[0] if len(texts) == 1 else json_text(texts)


def key_values(text: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the columns of a key; raises :class:`ValueError` if the text holds another number of them."""
    if len(columns) == 1:
        return {columns[0]: text}
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        values = None
    if not isinstance(values, list) or len(values) != len(columns):
        raise ValueError(f"the key {shown(text[:100])} does not hold the columns {', '.join(columns)}")
    return dict(zip(columns, map(str, values), strict=True))


def sent_key(text: str) -> str:
    """Return a key's text as it is sent in a file."""
    return f"{KEY_BEFORE}{text}{KEY_AFTER}"


def is_sent_key(value: object) -> bool:
    """Whether :func:`sent_key` made the value."""
    return isinstance(value, str) and value.startswith(KEY_BEFORE) and value.endswith(KEY_AFTER)


def text_of_key(value: Any) -> str:
    """Return the text of a key that stands in a request file."""
    return value[len(KEY_BEFORE) : -len(KEY_AFTER)] if is_sent_key(value) else text_of(value)


def key_identity(value: Any) -> str | None:
    """Return what stays the same of a key whatever type it comes back with; ``None`` where nothing does.

    A sent key stays itself. Bare ones that are the same number share one identity: of ``1e5``, ``100000.0`` and 100000
    an answer can't tell which was sent. Other bare keys are as earlier releases labelled them.
    """
    if is_sent_key(value):
        return str(value)
    if isinstance(value, str):
        value = value.strip()
        if value.casefold() in _NOT_TEXT or value.startswith(_JSON):
            return None
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value) + 0.0  # of -0 and 0 one
    except OverflowError:
        return None
    except ValueError:
        return None if _DATE.match(value) else _old_label(value)
    return repr(number) if math.isfinite(number) else None


def label_identity(label: Any) -> str | None:
    """Return the identity of the key that an earlier release made this label of."""
    return label if isinstance(label, str) and label.startswith(_OLD_HASHED) else key_identity(label)


def _old_label(text: str) -> str:
    if _OLD_LABEL.fullmatch(text):
        return text
    return _OLD_HASHED + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
