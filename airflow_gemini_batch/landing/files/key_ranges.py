"""Rows divided by their keys, so that those of a range fit into memory, sorted and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_gemini_batch.sql.engine import text_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Key = tuple[str, ...]

# Among so many, the keys that divide all are near enough to where they should be.
_SAMPLED = 100_000


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Keys from one on, up to another one.

    :param first: ``None`` for the range in front of all others, which NULL belongs to.
    :param end: not of the range; ``None`` for the last range.
    """

    first: Key | None = None
    end: Key | None = None

    def condition(self, columns: Sequence[str]) -> str:
        """Return the condition that a row has a key of the range.

        :param columns: of the key, as they stand in a statement.
        """
        # The first column alone tells most groups of rows in a file that none of theirs are of the range.
        first, *others = columns
        texts = ", ".join(f"IFNULL({column}, '')" for column in columns)
        whole = f"ROW({texts})"
        conditions = []
        if self.first is not None:
            conditions.append(f"{first} >= {text_literal(self.first[0])}")
            if others:
                conditions.append(f"{whole} >= {_row(self.first)}")
        if self.end is not None:
            sign = "<=" if others else "<"
            before = f"{first} {sign} {text_literal(self.end[0])}"
            conditions.append(before if self.first is not None else f"({before} OR {first} IS NULL)")
            if others:
                conditions.append(f"{whole} < {_row(self.end)}")
        return " AND ".join(conditions) or "TRUE"


def _row(key: Key) -> str:
    return f"ROW({', '.join(map(text_literal, key))})"


def key_ranges(database: DuckDBPyConnection, keys: str, columns: Sequence[str], size: int) -> list[KeyRange]:
    """Return the ranges of some keys, in their order.

    :param keys: query for the keys, which may be NULL.
    :param columns: of the query, as they stand in a statement.
    :param size: keys in a range, more or less.
    """
    ((count,),) = database.execute(f"SELECT COUNT(*) FROM ({keys})").fetchall()
    if count <= size:
        return [KeyRange()]
    share = -(-count // _SAMPLED)
    names = [f"key_{index}" for index, _ in enumerate(columns)]
    order = ", ".join(names)
    texts = ", ".join(f"IFNULL({column}, '') AS {name}" for column, name in zip(columns, names, strict=True))
    ends: list[Key] = database.execute(f"""SELECT {order}
FROM (
  SELECT *, ROW_NUMBER() OVER (ORDER BY {order}) AS place
  FROM (SELECT DISTINCT {texts} FROM ({keys})) WHERE HASH({order}) % {share} = 0
)
WHERE place % {max(size // share, 1)} = 0
ORDER BY {order}""").fetchall()
    return [KeyRange(first, end) for first, end in zip([None, *ends], [*ends, None], strict=True)]
