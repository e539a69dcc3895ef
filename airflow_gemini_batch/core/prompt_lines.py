"""What a function returns or yields → lines of requests: prompts, or whole requests, with or without keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.keys import KEY_LABEL, key_label
from airflow_gemini_batch.core.prompts import text_of
from airflow_gemini_batch.core.request_lines import request_line
from airflow_gemini_batch.core.request_templates import BadRowError, RequestTemplate
from airflow_gemini_batch.exceptions import InvalidRequestError

PROMPT = "prompt"
"""The column that a template for :func:`prompt_lines` reads."""


def prompt_lines(prompts: Any, template: RequestTemplate) -> Iterator[bytes]:
    """Yield one request line for each prompt.

    :param prompts: a dict of keys and prompts, or an iterable of prompts or of pairs of key and prompt. A prompt is a
        text, or a request: ``{"contents": …}`` or ``{"request": {"contents": …}, "key": …}``. What comes without a key
        gets its number in the order of appearance, from 0.
    :param template: of the requests made of texts; it reads the column :data:`PROMPT`.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` that names the prompt: for one that is
    neither, for an empty one, for a key that occurs twice.
    """
    seen: set[str] = set()
    for number, (key, prompt) in enumerate(_keyed(prompts)):
        text = str(number) if key is None else text_of(key)
        label = key_label(text)
        if label in seen:
            raise InvalidRequestError(f"the key {text!r:.100} occurs more than once")
        seen.add(label)
        yield _line(text, prompt, template)


def _keyed(prompts: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(prompts, (str, bytes)) or not isinstance(prompts, Iterable):
        raise InvalidRequestError(
            f"prompts have to be a dict of keys and prompts, or an iterable of prompts, got {type(prompts).__name__}"
        )
    if isinstance(prompts, Mapping):
        yield from prompts.items()
        return
    for prompt in prompts:
        if isinstance(prompt, (tuple, list)) and len(prompt) == 2:
            yield prompt[0], prompt[1]
        elif isinstance(prompt, Mapping):
            yield prompt.get("key"), prompt
        else:
            yield None, prompt


def _line(key: str, prompt: Any, template: RequestTemplate) -> bytes:
    if isinstance(prompt, str):
        try:
            return request_line(key, template.fill({PROMPT: prompt}))
        except BadRowError as error:
            raise InvalidRequestError(f"the prompt with the key {key!r:.100}: {error}") from None
    request = prompt.get("request", prompt) if isinstance(prompt, Mapping) else None
    if not isinstance(request, Mapping) or "contents" not in request:
        raise InvalidRequestError(
            f"the prompt with the key {key!r:.100} is neither a text nor a request with contents: {prompt!r:.200}"
        )
    labels = request.get("labels") or {}
    if not isinstance(labels, Mapping):
        raise InvalidRequestError(
            f"the request with the key {key!r:.100} has labels that are no dict: {labels!r:.100}"
        )
    labelled = {**request, "labels": {**labels, KEY_LABEL: key_label(key)}}
    try:
        return orjson.dumps({"key": key, "request": labelled}, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError(
            f"the request with the key {key!r:.100} can't be written as JSON: {error}"
        ) from None
