"""One line of a request file, and the fingerprint of what it asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE, OLD_KEY_LABEL, sent_key
from airflow_gemini_batch.core.plain import plain
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.templates import BadRow, BadRowError, RequestTemplate
from airflow_gemini_batch.requests.validation.import_rules import ImportedLines, importable_tools

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class LineForm:
    """What stands around a key and a request in a line of a file; a call makes one line, with its end.

    :param skipped: characters that the request begins with and that are left out.
    """

    before: str
    between: str
    after: str
    skipped: int = 0

    def __call__(self, key: str, request: bytes) -> bytes:
        """Return the line of a key and a request; raises :class:`.BadRowError` for a key with a lone surrogate."""
        try:
            spelled = orjson.dumps(key)[1:-1].decode()
        except orjson.JSONEncodeError:
            message = "the key holds a lone surrogate, which is not valid Unicode"
            raise BadRowError(BadRow.NOT_TEXT, message) from None
        return "".join(self.parts(spelled, [request.decode()])).encode()

    def parts(self, key: Part, request: Sequence[Part | str]) -> list[Part | str]:
        """Return the parts of a line, or of many lines whose parts are columns.

        :param key: as it stands in a JSON string.
        :param request: the parts of its JSON text, the first one a text.
        """
        first, *rest = request
        between = f"{KEY_AFTER}{self.between}{str(first)[self.skipped :]}"
        return [f"{self.before}{KEY_BEFORE}", key, between, *rest, self.after]


request_line = LineForm('{"key":"', '","request":', "}\n")
"""``{"key": …, "request": {…}}``"""

content_line = LineForm('{"key":"', '",', "\n", skipped=1)
"""``{"key": …, "content": …}``"""


def fingerprint_of_line(model: str, line: Mapping[str, Any]) -> str:
    """Return the fingerprint of a line that was read back: of its request, without the key.

    :param model: as for :func:`~airflow_gemini_batch.core.fingerprints.fingerprint_of`.
    """
    if "request" not in line:
        return fingerprint_of(model, orjson.dumps({name: line[name] for name in line if name != "key"}))
    request = dict(line["request"])
    labels = {
        name: value for name, value in (request.pop("labels", None) or {}).items() if name != OLD_KEY_LABEL
    }
    if labels:
        request["labels"] = labels
    for settings in (request, config := dict(request.get("embed_content_config") or {})):
        if isinstance(length := settings.get("output_dimensionality"), str):
            settings["output_dimensionality"] = int(length)  # BigQuery exports whole numbers as strings
    if config:
        request["embed_content_config"] = config
    return fingerprint_of(model, orjson.dumps(request))


PROMPT = "prompt"
"""The column that a template for :func:`prompt_lines` reads."""


def prompt_lines(prompts: Any, template: RequestTemplate) -> Iterator[bytes]:
    """Yield one request line for each prompt.

    :param prompts: a dict of keys and prompts, or an iterable of prompts or of pairs of key and prompt. A prompt is a
        text, or a request: ``{"contents": …}`` or ``{"request": {"contents": …}, "key": …}``. What comes without a key
        gets its number in the order of appearance, from 0.
    :param template: of the requests made of texts; it reads the column :data:`PROMPT`.

    Raises :class:`.InvalidRequestError` that names the prompt: for one that is neither, for an empty one, for a key
    that occurs twice, and for one that can't be imported from a file, alone or beside those before it.
    """
    seen: set[str] = set()
    lines = ImportedLines()
    has_texts = False
    for number, (key, prompt) in enumerate(_keyed(prompts)):
        text = str(number) if key is None else text_of(key)
        if text in seen:
            raise InvalidRequestError(f"the key {text!r:.100} occurs more than once")
        seen.add(text)
        if not isinstance(prompt, str):
            yield _whole_line(text, prompt, lines)
            continue
        line = _text_line(text, prompt, template)
        if not has_texts:  # all lines of texts are alike in what an import looks at
            has_texts = True
            _check_import(line, text, lines)
        yield line


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


def _text_line(key: str, prompt: str, template: RequestTemplate) -> bytes:
    try:
        return request_line(key, template.fill({PROMPT: prompt}))
    except BadRowError as error:
        raise InvalidRequestError(f"the prompt with the key {key!r:.100}: {error}") from None


def _whole_line(key: str, prompt: Any, lines: ImportedLines) -> bytes:
    request = prompt.get("request", prompt) if isinstance(prompt, Mapping) else None
    if not isinstance(request, Mapping) or "contents" not in request:
        raise InvalidRequestError(
            f"the prompt with the key {key!r:.100} is neither a text nor a request with contents: {prompt!r:.200}"
        )
    if not isinstance(labels := request.get("labels") or {}, Mapping):
        raise InvalidRequestError(
            f"the labels of the request with the key {key!r:.100} are not a dict: {labels!r:.100}"
        )
    whole = plain(request)
    if isinstance(tools := whole.get("tools"), list):
        whole["tools"] = importable_tools(tools)
    try:
        line = orjson.dumps({"key": sent_key(key), "request": whole}, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError(
            f"the request with the key {key!r:.100} can't be written as JSON: {error}"
        ) from None
    _check_import(line, key, lines)
    return line


def _check_import(line: bytes, key: str, lines: ImportedLines) -> None:
    name = f"the request with the key {key!r:.100}"
    if faults := lines.add(orjson.loads(line), name):
        raise InvalidRequestError("\n".join(f"{name}: {fault}" for fault in faults))
