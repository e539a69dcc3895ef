"""What identifies the request of an answer: its key or its content, never its position.

The service returns the ``key`` beside a request as it was, with another type, or not at all, and the request in a
spelling of its own. Where the key does not say which request is meant, the content does; what neither tells is unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from airflow_gemini_batch.core.keys import OLD_KEY_LABEL, is_sent_key, key_identity, label_identity
from airflow_gemini_batch.core.model_families import FAMILIES, GENERATE_CONTENT, ModelFamily

RequestId = str | bytes
"""What identifies a request: its key, or the digest of its content."""

# Fields that Vertex AI takes as one object and echoes as a list.
_LISTS = frozenset({"contents", "parts", "tools", "safetySettings"})
# Whole numbers, which JSON made of BigQuery's INT64 or a proto's int64 holds as text.
_INTEGERS = frozenset(
    {
        "candidateCount",
        "logprobs",
        "maxItems",
        "maxLength",
        "maxOutputTokens",
        "maxProperties",
        "minItems",
        "minLength",
        "minProperties",
        "outputDimensionality",
        "seed",
        "thinkingBudget",
        "topK",
    }
)


def line_identity(row: Mapping[str, Any]) -> str | None:
    """Return what a line's key, or the label that earlier releases made of it, says: see :func:`.key_identity`."""
    if identity := key_identity(row.get("key")):
        return identity
    request = row.get("request")
    labels = request.get("labels") if isinstance(request, Mapping) else None
    return label_identity(labels.get(OLD_KEY_LABEL)) if isinstance(labels, Mapping) else None


_EMPTY: tuple[Any, ...] = (None, [], {})


def line_id(row: Mapping[str, Any] | None, *, by_key: bool) -> RequestId:
    """Return what identifies the request of a line.

    :param row: None for a line that cannot be read.
    """
    if row is None:
        return request_digest(None)
    if by_key and (key := line_identity(row)):
        return key
    asked = row.get("instance", row)
    if "request" not in row and isinstance(asked, Mapping):
        for family in FAMILIES.values():
            if family.is_flat and family.main_column in asked:
                return content_id(asked, family)
    return request_digest(row.get("request"))


class AnswerIdentity(NamedTuple):
    """What identifies the request of an answer.

    :param label: the key, if it came back as it was sent.
    :param digest: of the request, in hexadecimal digits, if there is no label.
    :param bare_key: what :func:`line_identity` returns of another key; requests may share it.
    """

    label: str | None
    digest: str | None
    bare_key: str | None = None


def answer_identity(row: Mapping[str, Any], family: ModelFamily = GENERATE_CONTENT) -> AnswerIdentity:
    """Return what identifies the request of a line of an output file."""
    if not family.returns_keys:
        instance = row.get("instance")
        # An answer belongs to all requests of its content, so what identifies the content stands for the key too.
        id_ = content_id(instance if isinstance(instance, Mapping) else {}, family)
        return AnswerIdentity(id_, id_)
    if is_sent_key(key := row.get("key")):
        return AnswerIdentity(key, None)
    return AnswerIdentity(None, request_digest(row.get("request")).hex(), line_identity(row))


def content_id(row: Mapping[str, Any], family: ModelFamily) -> str:
    """Return a digest of what a row asks a family that returns no keys; rows that ask the same share it.

    :param row: a line of a request file, the ``instance`` of a line of an output file, or a row of either table. An
        empty value counts as none, but for the main column.
    """
    main, *others = family.read_columns
    read = [row.get(main), *(row.get(name) or None for name in others)]
    return hashlib.blake2b(orjson.dumps(read), digest_size=16).hexdigest()


def request_digest(request: Any) -> bytes:
    """Return a digest of a request that stays the same when the service echoes it in its own spelling.

    Vertex AI writes fields in camelCase, in another order, with nulls and empty lists for fields that other requests
    have, and lists for single objects. It may leave out the labels, which change no answer.
    """
    asked = _canonical(request)
    if isinstance(asked, dict):
        asked.pop("labels", None)
        if isinstance(settings := asked.get("embedContentConfig"), dict):
            # Those of an embedding may as well stand beside the content.
            asked |= settings
            del asked["embedContentConfig"]
    return hashlib.blake2b(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


@lru_cache(4096)
def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        fields = {}
        for key, content in value.items():
            content = _canonical(content)
            if content in _EMPTY:
                continue
            name = _camel_case(key)
            if name in _LISTS and not isinstance(content, list):
                content = [content]
            elif name in _INTEGERS or (name == "type" and isinstance(content, str)):
                content = str(content).upper()  # of a schema's type either case is right
            fields[name] = content
        return fields
    if isinstance(value, list):
        return [item for item in map(_canonical, value) if item not in _EMPTY]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
