"""Which family of models wrote the lines of an output file, by what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.core.jsonl import tolerant_object
from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)

_OF_RESPONSES = {
    GEMINI_EMBEDDING: ("embedding", "embeddings", "tokenCount"),
    GENERATE_CONTENT: ("candidates", "promptFeedback", "modelVersion"),
}
"""Fields that tell the family of a ``response``."""


def response_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``response`` of a row, decoded if it is JSON text; an empty one if it is not an object."""
    response = row.get("response")
    if isinstance(response, str):
        response = tolerant_object(response.encode())
    return response if isinstance(response, Mapping) else {}


def family_of_row(row: Mapping[str, Any]) -> ModelFamily | None:
    """Return the family that a row tells; ``None`` for one that failed, which tells none."""
    if "predictions" in row or "instance" in row:
        return TEXT_EMBEDDING
    response = response_of(row)
    return next(
        (family for family, names in _OF_RESPONSES.items() if any(name in response for name in names)), None
    )


class LineFamily:
    """The family of some lines, as soon as one of them tells it.

    Until then they count as generated content: rows of the other family with a ``response`` fail in the same way.
    """

    def __init__(self) -> None:
        self._family: ModelFamily | None = None

    @property
    def family(self) -> ModelFamily:
        """The family, as far as it is known."""
        return self._family or GENERATE_CONTENT

    def read(self, lines: bytes) -> ModelFamily:
        """Return the family after these lines as well."""
        if self._family is None:
            told = (family_of_row(tolerant_object(line) or {}) for line in lines.split(b"\n"))
            self._family = next(filter(None, told), None)
        return self.family
