"""One line of a request file, and the fingerprint of what it asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import KEY_LABEL, key_label
from airflow_gemini_batch.core.request_formats import RequestFormat
from airflow_gemini_batch.core.request_templates import NotTextError

_LABELLED = f'{{"key":%b,"request":%b,"labels":{{"{KEY_LABEL}":"%b"}}}}}}\n'.encode()

LineMaker = Callable[[str, bytes], bytes]
"""Makes the line of a key and a filled :class:`~airflow_gemini_batch.core.request_templates.RequestTemplate`."""


def line_maker(format_: RequestFormat) -> LineMaker:
    """Return what makes the lines of a format, each an object with the key in front, with a line end.

    Its lines raise :class:`~airflow_gemini_batch.core.request_templates.NotTextError` for a key with a lone surrogate.
    """
    return _MAKERS[format_]


def request_line(key: str, request: bytes) -> bytes:
    """Return ``{"key": …, "request": {…, "labels": …}}`` with a line end.

    :param request: a filled template of an object without labels.
    """
    return _LABELLED % (_json_key(key), request[:-1], key_label(key).encode())


def _embedding_line(key: str, request: bytes) -> bytes:
    return b'{"key":%b,"request":%b}\n' % (_json_key(key), request)


def _content_line(key: str, request: bytes) -> bytes:
    return b'{"key":%b,%b\n' % (_json_key(key), request[1:])


_MAKERS: Mapping[RequestFormat, LineMaker] = {
    RequestFormat.GENERATE_CONTENT: request_line,
    RequestFormat.GEMINI_EMBEDDING: _embedding_line,
    RequestFormat.TEXT_EMBEDDING: _content_line,
}


def fingerprint_of_line(model: str, line: Mapping[str, Any]) -> str:
    """Return the fingerprint of a line that was read back: of its request, without our key and label.

    :param model: as for :func:`~airflow_gemini_batch.core.fingerprints.fingerprint_of`.
    """
    if "request" not in line:
        return fingerprint_of(model, orjson.dumps({name: line[name] for name in line if name != "key"}))
    request = dict(line["request"])
    labels = {name: value for name, value in (request.pop("labels", None) or {}).items() if name != KEY_LABEL}
    if labels:
        request["labels"] = labels
    config = request.get("embed_content_config")
    if isinstance(config, Mapping) and isinstance(length := config.get("output_dimensionality"), str):
        # BigQuery exports whole numbers as strings.
        request["embed_content_config"] = {**config, "output_dimensionality": int(length)}
    return fingerprint_of(model, orjson.dumps(request))


def _json_key(key: str) -> bytes:
    try:
        return orjson.dumps(key)
    except orjson.JSONEncodeError:
        raise NotTextError("the key holds a lone surrogate, which is no Unicode text") from None
