"""The question that all rows of a build are asked: the request without the values of a row.

A landed answer names the question that it answers, in the column ``batch_question``. With the definition of that
question at hand, the fingerprint that a row would have under it can be computed again. So a build knows whether a row
has to be asked because its data has changed, or because the question has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate
from airflow_gemini_batch.requests.templates import MediaSlot, RequestTemplate, TextSlot

QUESTION_LENGTH = 16

_NAMES = {
    "contents": "prompt",
    "content": "prompt",
    "systemInstruction": "system instruction",
    "generationConfig": "generation config",
    "safetySettings": "safety settings",
    "toolConfig": "tool config",
}
_SCHEMA = ("responseSchema", "responseMimeType")


@dataclass(frozen=True, slots=True)
class Question:
    """What each row of a build is asked.

    :param model: what stands for the model in fingerprints: see
        :func:`~airflow_gemini_batch.core.fingerprints.model_key`.
    :param template: of the request.
    """

    model: str
    template: RequestTemplate

    @property
    def id(self) -> str:
        """The digest of model and template, 16 hexadecimal digits."""
        content = [self.model, [_part_json(part, prefixes=False) for part in self.template.parts]]
        return hashlib.sha256(orjson.dumps(content)).hexdigest()[:QUESTION_LENGTH]

    def to_json(self) -> dict[str, Any]:
        """Return the question as JSON types, for :meth:`from_json`."""
        return {
            "model": self.model,
            "parts": [_part_json(part) for part in self.template.parts],
            "prompt": [_text_json(piece) for piece in self.template.prompt.parts],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read a question; raises :class:`ValueError` for other content."""
        try:
            parts = tuple(_part(part) for part in content["parts"])
            return cls(str(content["model"]), RequestTemplate(parts, _text(content["prompt"])))
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected a question, but {error} is missing: {content!r:.200}") from error

    @property
    def pieces(self) -> dict[str, Any]:
        """What the question is made of, by the names that people know, such as ``prompt`` or ``response schema``."""
        request = orjson.loads("".join(map(_spelled, self.template.parts)))
        pieces: dict[str, Any] = {"model": self.model}
        config = dict(request.pop("generationConfig", {}))
        if schema := {name: config.pop(name) for name in _SCHEMA if name in config}:
            pieces["response schema"] = schema
        if config:
            request["generationConfig"] = config
        return pieces | {_NAMES.get(name, name.replace("_", " ")): value for name, value in request.items()}

    def changes_from(self, earlier: Question) -> list[str]:
        """Return the names of the pieces that are not what they were in an earlier question."""
        then, now = earlier.pieces, self.pieces
        return [name for name in {**now, **then} if then.get(name) != now.get(name)]


def text_of(template: PromptTemplate) -> str:
    """Return the text that :meth:`.PromptTemplate.parse` reads as this template."""
    return "".join(
        part.replace("[[", "\\[[")
        if isinstance(part, str)
        else f"[[ {part.column} | {part.default} ]]"
        if part.default
        else f"[[ {part.column} ]]"
        for part in template.parts
    )


def _part_json(part: str | TextSlot | MediaSlot, *, prefixes: bool = True) -> Any:
    """Return a part of a template as JSON types.

    :param prefixes: also those that addresses have to begin with, which decide what is asked but not how.
    """
    if isinstance(part, str):
        return part
    if isinstance(part, TextSlot):
        return {"text": [_text_json(piece) for piece in part.text.parts]}
    media: dict[str, Any] = {"media": part.column, "mime_type": part.mime_type}
    return {**media, "prefixes": list(part.prefixes)} if prefixes else media


def _text_json(piece: str | Placeholder) -> Any:
    return piece if isinstance(piece, str) else [piece.column, piece.default]


def _part(content: Any) -> str | TextSlot | MediaSlot:
    if isinstance(content, str):
        return content
    if "media" in content:
        return MediaSlot(content["media"], content["mime_type"], tuple(content["prefixes"]))
    return TextSlot(_text(content["text"]))


def _text(pieces: Sequence[Any]) -> PromptTemplate:
    return PromptTemplate(tuple(piece if isinstance(piece, str) else Placeholder(*piece) for piece in pieces))


def _spelled(part: str | TextSlot | MediaSlot) -> str:
    """Return a part of a request's JSON text, with the name of a column in the place of its value."""
    if isinstance(part, str):
        return part
    if isinstance(part, TextSlot):
        return orjson.dumps(text_of(part.text)).decode()
    file = {"mimeType": part.mime_type, "column": part.column}
    return "," + orjson.dumps({"fileData": file}).decode()
