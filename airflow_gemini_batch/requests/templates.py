"""A row → one request: the request's JSON text with slots, each filled by a row.

The same template serves a stream of rows in Python and a statement in BigQuery: the text between the slots is fixed,
and what goes into a slot is encoded as JSON by either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from airflow_gemini_batch.core.media import address_fault, checked_prefixes, mime_type_of
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.requests.columns import escaped, joined, texts_of
from airflow_gemini_batch.requests.parameters import request_parts
from airflow_gemini_batch.requests.prompts import PromptTemplate

if TYPE_CHECKING:
    import pyarrow as pa


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


@dataclass(frozen=True, slots=True)
class FilledBatch:
    """Requests of some rows, not yet put together.

    :param parts: of their JSON texts, for :func:`~airflow_gemini_batch.requests.columns.joined`.
    :param characters: how many there are in the rendered texts of each.
    :param media: how many files each refers to.
    :param blank: of each, whether the prompt is empty.
    """

    parts: list[str | pa.Array]
    characters: pa.Array
    media: pa.Array
    blank: pa.Array


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
        """Return the requests of rows.

        Raises :class:`BadRowError`, as :meth:`fill` does, when one of them is bad.
        """
        try:
            batch = texts_of(rows, self.columns)
        except UnicodeEncodeError:
            message = "the row holds a lone surrogate, which is not valid Unicode"
            raise BadRowError(BadRow.NOT_TEXT, message) from None
        filled = self.fill_batch(batch)
        requests = joined(filled.parts, len(rows)).to_pylist()
        for number, request in enumerate(requests):
            if request is None and filled.blank[number].as_py():
                raise BadRowError(BadRow.EMPTY_PROMPT)
            for slot in self.parts:
                if request is None and isinstance(slot, MediaSlot):
                    _file_part(batch[slot.column][number].as_py(), slot)
        return FilledRows(
            [request.encode() for request in requests],
            filled.characters.to_pylist(),
            filled.media.to_pylist(),
        )

    def fill_batch(self, rows: pa.RecordBatch) -> FilledBatch:
        """Return what makes the requests of rows whose values are texts; those of bad rows are NULL."""
        import pyarrow as pa
        import pyarrow.compute as pc

        prompts = self.prompt.render(rows)
        blank = pa.repeat(pa.scalar(False), len(rows))
        if self.prompt.may_be_blank:
            blank = pc.equal(pc.utf8_trim_whitespace(prompts), "")
        parts: list[str | pa.Array] = []
        characters = media = pa.repeat(pa.scalar(0, pa.int64()), len(rows))
        for part in self.parts:
            if isinstance(part, str):
                parts.append(part)
            elif isinstance(part, TextSlot):
                texts = prompts if part.text is self.prompt else part.text.render(rows)
                characters = pc.add(characters, pc.utf8_length(texts))
                parts += ['"', escaped(texts), '"']
            else:
                uris = rows[part.column].to_pylist()
                files = pa.array([_file_or_none(uri, part) for uri in uris], pa.string())
                media = pc.add(media, pc.not_equal(files, "").cast(pa.int64()))
                parts.append(files)
        if self.prompt.may_be_blank:
            parts.append(pc.if_else(blank, pa.scalar(None, pa.string()), ""))
        return FilledBatch(parts, characters, media, blank)


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


def _file_or_none(uri: str | None, slot: MediaSlot) -> str | None:
    try:
        return _file_part(uri, slot)
    except BadRowError:
        return None


def _file_part(uri: str | None, slot: MediaSlot) -> str:
    if not uri:
        return ""
    if fault := address_fault(uri, slot.prefixes):
        raise BadRowError(BadRow.BAD_MEDIA, f"{slot.column} is {shown(uri[:200])}, {fault}")
    kind = slot.mime_type or mime_type_of(uri)
    if kind is None:
        message = f"{slot.column} is {shown(uri[:200])}, a file of unknown type: give the MIME type in media"
        raise BadRowError(BadRow.BAD_MEDIA, message)
    return "," + orjson.dumps({"fileData": {"mimeType": kind, "fileUri": uri}}).decode()
