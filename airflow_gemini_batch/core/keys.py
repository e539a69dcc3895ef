"""The key of a row, and how it travels with the row's request.

In tables the key's columns pass through the job. In files each request carries its key twice, since the service may
return only one of them: in full as ``key`` beside the request, and among the request's labels as a valid label value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import orjson

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.values import is_null, json_text, text_of

KEY_LABEL = "gemini_batch_key"

# https://cloud.google.com/resource-manager/docs/labels-overview#requirements
_HASHED = "h-"
_LEGAL = re.compile(rf"(?!{_HASHED})[a-z0-9_-]{{1,63}}")


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


def key_label(text: str) -> str:
    """Return a key as a valid label value: itself, or a digest of it."""
    if _LEGAL.fullmatch(text):
        return text
    return _HASHED + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
