"""Prompts with placeholders for columns, such as ``Describe [[ title ]] by [[ authors | an unknown author ]]``.

Square brackets, so that neither Airflow's Jinja nor a Python f-string takes them for its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from airflow_gemini_batch.core.values import text_of

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
    # The same for `%`, which fills a text several times as fast as joining its parts does.
    _format: str = field(init=False, repr=False, compare=False)
    _placeholders: tuple[Placeholder, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = ("%s" if isinstance(part, Placeholder) else part.replace("%", "%%") for part in self.parts)
        object.__setattr__(self, "_format", "".join(texts))
        placeholders = tuple(part for part in self.parts if isinstance(part, Placeholder))
        object.__setattr__(self, "_placeholders", placeholders)

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
        return tuple(dict.fromkeys(placeholder.column for placeholder in self._placeholders))

    def render_all(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the texts for many rows, which takes half the time of one after the other.

        A column that a row lacks counts as NULL.
        """
        columns = []
        for placeholder in self._placeholders:
            name, default = placeholder.column, placeholder.default
            values = [row.get(name) for row in rows]
            if set(map(type, values)) != {str}:
                values = [text_of(value, default) for value in values]
            columns.append(values)
        if not columns:
            return [self._format % ()] * len(rows)
        return [self._format % values for values in zip(*columns, strict=True)]
