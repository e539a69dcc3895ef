"""A row → one request: the request's JSON text with slots, each filled by a row.

The same template serves a stream of rows in Python and a statement in BigQuery: the text between the slots is fixed,
and what goes into a slot is encoded as JSON by either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from operator import add
from typing import Any

import orjson

from airflow_gemini_batch.core.media import address_fault, checked_prefixes, mime_type_of
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.requests.parameters import request_parts
from airflow_gemini_batch.requests.prompts import PromptTemplate


@dataclass(frozen=True, slots=True)
class TextSlot:
    """Filled with a JSON string: the rendered text."""

    text: PromptTemplate


@dataclass(frozen=True, slots=True)
class MediaSlot:
    """Filled with ``,{"fileData": …}`` for a column that holds a ``gs://`` or https address; nothing for NULL or ''.

    :param mime_type: of all the column's files; ``None`` to guess each from its name.
    :param prefixes: what the addresses may begin with; anything if there are none.
    """

    column: str
    mime_type: str | None = None
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FilledRows:
    """Requests of rows, in their order.

    :param requests: each as JSON.
    :param characters: how many there are in the rendered texts of each.
    :param media: how many files each refers to.
    """

    requests: list[bytes]
    characters: list[int]
    media: list[int]


class BadRow(StrEnum):
    """Why a row can't become a request."""

    NULL_KEY = "the key is NULL"
    DUPLICATE_KEY = "the key occurs more than once"
    EMPTY_PROMPT = "the prompt is empty"
    BAD_MEDIA = (
        "a media column holds an address that is not gs:// or https://, is not among media_prefixes, or names a file "
        "of an unknown type"
    )
    NOT_TEXT = "the key, prompt or media holds a lone surrogate, which is not valid Unicode"


class BadRowError(ValueError):
    """A row can't become a request.

    :param message: by default the reason.
    """

    def __init__(self, reason: BadRow, message: str | None = None) -> None:
        super().__init__(message or reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """The JSON text of a request.

    :param parts: fixed text and slots, in order.
    :param prompt: the text that must not come out empty.
    :param fields: the same as an object, with templates for what is filled in, for those who need it in pieces: a
        table with a column for each field, an export. Empty if the JSON text is all that is needed.
    """

    parts: tuple[str | TextSlot | MediaSlot, ...]
    prompt: PromptTemplate
    fields: Mapping[str, Any] = field(default_factory=dict)
    # The same for `%`, which fills a text faster than joining its parts does.
    _format: bytes = field(init=False, repr=False, compare=False)
    _slots: tuple[TextSlot | MediaSlot, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = (part.replace("%", "%%") if isinstance(part, str) else "%b" for part in self.parts)
        object.__setattr__(self, "_format", "".join(texts).encode())
        object.__setattr__(self, "_slots", tuple(part for part in self.parts if not isinstance(part, str)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        columns: list[str] = []
        for part in self.parts:
            if isinstance(part, TextSlot):
                columns += part.text.columns
            elif isinstance(part, MediaSlot):
                columns.append(part.column)
        return tuple(dict.fromkeys(columns))

    def example(self) -> dict[str, Any]:
        """Return a request with an invented text and file in each slot."""
        texts = []
        for part in self.parts:
            if isinstance(part, MediaSlot):
                file = {"mimeType": part.mime_type or "image/png", "fileUri": "gs://bucket/file"}
                texts.append("," + orjson.dumps({"fileData": file}).decode())
            else:
                texts.append('"text"' if isinstance(part, TextSlot) else part)
        example: dict[str, Any] = orjson.loads("".join(texts))
        return example

    def fill(self, row: Mapping[str, Any]) -> bytes:
        """Return the request of a row as JSON.

        Raises :class:`BadRowError`.
        """
        return self.fill_all([row]).requests[0]

    def fill_all(self, rows: Sequence[Mapping[str, Any]]) -> FilledRows:
        """Return the requests of many rows, which takes half the time of one after the other.

        Raises :class:`BadRowError`, as :meth:`fill` does, when one of them is bad.
        """
        prompts = self.prompt.render_all(rows)
        if "" in prompts or any(map(str.isspace, prompts)):
            raise BadRowError(BadRow.EMPTY_PROMPT)
        pieces: list[list[bytes]] = []
        characters = media = [0] * len(rows)
        try:
            for slot in self._slots:
                if isinstance(slot, TextSlot):
                    texts = prompts if slot.text is self.prompt else slot.text.render_all(rows)
                    characters = list(map(add, characters, map(len, texts)))
                    pieces.append(list(map(orjson.dumps, texts)))
                else:
                    files = [_file_part(row.get(slot.column), slot) for row in rows]
                    media = list(map(add, media, map(bool, files)))
                    pieces.append(files)
        except orjson.JSONEncodeError:
            message = "the row holds a lone surrogate, which is not valid Unicode"
            raise BadRowError(BadRow.NOT_TEXT, message) from None
        filled = zip(*pieces, strict=True) if pieces else repeat((), len(rows))
        return FilledRows([self._format % texts for texts in filled], characters, media)


def gemini_request(
    prompt: PromptTemplate,
    *,
    system_instruction: Any = None,
    generation_config: Any = None,
    response_schema: Mapping[str, Any] | None = None,
    safety_settings: Any = None,
    media: Mapping[str, str | None] | None = None,
    media_prefixes: str | Sequence[str] | None = None,
    tools: Any = None,
) -> RequestTemplate:
    """Return the template of a ``GenerateContentRequest``.

    :param response_schema: in the form of :func:`airflow_gemini_batch.core.response_schema.response_schema_of`.
    :param media: columns with addresses of files, and the files' MIME type (``None`` to guess it).
    :param media_prefixes: what the addresses may begin with; by default anything.

    The others are what :func:`~airflow_gemini_batch.requests.parameters.request_parts` reads.

    Raises :class:`ValueError` for parts that can't be read, and for prefixes that no address begins with.

    https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/projects.locations.publishers.models/generateContent
    """
    prefixes = checked_prefixes(media_prefixes)
    shared = request_parts(
        system_instruction=system_instruction,
        generation_config=generation_config,
        safety_settings=safety_settings,
        tools=tools,
    )
    config = shared.generation_config
    if response_schema:
        config = {**config, "responseMimeType": "application/json", "responseSchema": response_schema}
    rest = {
        "systemInstruction": shared.system_instruction,
        "generationConfig": config or None,
        "safetySettings": shared.safety_settings or None,
        **shared.beside,
        "tools": shared.tools or None,
    }
    fixed = orjson.dumps({name: value for name, value in rest.items() if value is not None}).decode()
    return RequestTemplate(
        parts=(
            '{"contents":[{"role":"user","parts":[{"text":',
            TextSlot(prompt),
            "}",
            *(MediaSlot(column, mime_type, prefixes) for column, mime_type in (media or {}).items()),
            "]}]" + ("," + fixed[1:] if fixed != "{}" else "}"),
        ),
        prompt=prompt,
    )


def _file_part(value: Any, slot: MediaSlot) -> bytes:
    if not (uri := text_of(value)):
        return b""
    if fault := address_fault(uri, slot.prefixes):
        raise BadRowError(BadRow.BAD_MEDIA, f"{slot.column} is {shown(uri[:200])}, {fault}")
    kind = slot.mime_type or mime_type_of(uri)
    if kind is None:
        message = f"{slot.column} is {shown(uri[:200])}, a file of unknown type: give the MIME type in media"
        raise BadRowError(BadRow.BAD_MEDIA, message)
    return b"," + orjson.dumps({"fileData": {"mimeType": kind, "fileUri": uri}})
