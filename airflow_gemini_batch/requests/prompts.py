"""Prompts with placeholders for columns, such as ``Describe [[ title ]] by [[ authors | an unknown author ]]``.

Square brackets, so that neither Airflow's Jinja nor a Python f-string takes them for its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from airflow_gemini_batch.requests.columns import joined, texts_of

if TYPE_CHECKING:
    import pyarrow as pa

_PLACEHOLDER = re.compile(r"\\\[\[|\[\[(?P<inside>[^\[\]]*)\]\]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A column's value.

    :param column: name of the column; spaces within it are fine.
    :param default: text for NULL.
    """

    column: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    r"""A text in which each ``[[ column ]]`` stands for the value of a row.

    ``[[ column | text ]]`` gives ``text`` for NULL, which is empty text otherwise. ``\[[`` is a plain ``[[``. Values
    are taken as they are: brackets, braces, quotes and newlines within them mean nothing.
    """

    parts: tuple[str | Placeholder, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template; raises :class:`ValueError` for an empty one or an empty placeholder."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"prompt is empty: give a text such as 'Describe [[ title ]].', got {text!r}")
        parts: list[str | Placeholder] = []
        literal, end = "", 0
        for match in _PLACEHOLDER.finditer(text):
            literal += text[end : match.start()]
            end = match.end()
            if match["inside"] is None:
                literal += "[["
                continue
            column, bar, default = match["inside"].partition("|")
            if not column.strip():
                raise ValueError(
                    f"prompt has a placeholder without a column: {match[0]!r}; write [[ column ]], or \\[[ for brackets"
                )
            if literal:
                parts.append(literal)
            parts.append(Placeholder(column.strip(), default.strip() if bar else ""))
            literal = ""
        if literal := literal + text[end:]:
            parts.append(literal)
        return cls(tuple(parts))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, each once."""
        return tuple(dict.fromkeys(part.column for part in self.parts if isinstance(part, Placeholder)))

    @property
    def may_be_blank(self) -> bool:
        """Whether rows can make it white space and nothing else."""
        return not any(isinstance(part, str) and part.strip() for part in self.parts)

    def render(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the texts of rows whose values are texts."""
        parts = [
            part if isinstance(part, str) else rows[part.column].fill_null(part.default)
            for part in self.parts
        ]
        return joined(parts, len(rows))

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the texts of rows; a column that one lacks counts as NULL.

        Raises :class:`UnicodeEncodeError` for a lone surrogate.
        """
        return list(self.render(texts_of(rows, self.columns)).to_pylist())
