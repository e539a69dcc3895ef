"""Why a row is asked, how many rows there are of each kind, and which of them come first. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class RowKind(StrEnum):
    """Why a row that is neither bad nor answered has to be asked."""

    NEW = "new"
    FAILED_BEFORE = "failed before"
    CHANGED_DATA = "changed data"
    CHANGED_QUESTION = "changed question"
    CHANGED = "changed, and not known whether data or question"


CHANGED_QUESTION_KINDS = (RowKind.CHANGED_QUESTION, RowKind.CHANGED)
"""The kinds that a choice about changed questions is for: such a row has an answer, and its data may be the same."""


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many rows there are, and what their requests hold.

    :param characters: of the rendered texts, without what all requests share.
    :param media: files that the requests refer to.
    """

    rows: int = 0
    characters: int = 0
    media: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.rows + other.rows, self.characters + other.characters, self.media + other.media
        )


KindCounts = Mapping[RowKind, RowCount]


def changed_rows(kinds: KindCounts) -> int:
    """Return the number of rows with a changed question."""
    return sum(kinds[kind].rows for kind in CHANGED_QUESTION_KINDS if kind in kinds)


@dataclass(frozen=True, slots=True)
class RowOrder:
    """Which of the rows with a changed question are asked first.

    :param column: whose lowest values come first; ``None`` for the order of a digest of the key, which is a sample.
    :param descending: the highest values first. NULL comes last in either case.
    :param strata: column of a sample, each of whose values is in it: once, then in proportion.
    """

    column: str | None = None
    descending: bool = False
    strata: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``column``, ``column ASC`` or ``column DESC``; raises :class:`ValueError` for an empty text."""
        column, _, direction = text.strip().rpartition(" ")
        if direction.upper() not in ("ASC", "DESC") or not column:
            column, direction = text.strip(), "ASC"
        if not column:
            raise ValueError("order_by is empty: give a column, as in 'published' or 'views DESC'")
        return cls(column.strip(), direction.upper() == "DESC")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(name for name in (self.column, self.strata) if name)


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of a canary: some of those with a changed question, and golden rows, of which the right answer is known.

    :param keys: of golden rows, as texts.
    :param target: where its answers land; rows that have one there are not asked again.
    """

    keys: frozenset[str] = frozenset()
    target: str | None = None
