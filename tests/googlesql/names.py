"""Names that columns of users may have, and that our statements might stumble over."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from itertools import product

from tests.googlesql.builders import BUILDERS, MANY_JOBS, SOME_JOBS, Shape
from tests.googlesql.rules import unquoted

RESERVED_WORDS = """
all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube current
default define desc distinct else end enum escape except exclude exists extract false fetch following for from full
group grouping groups hash having if ignore in inner intersect interval into is join lateral left like limit lookup
merge natural new no not null nulls of on or order outer over partition preceding proto qualify range recursive
respect right rollup rows select set some struct tablesample then to treat true unbounded union unnest using when
where window with within
""".split()  # noqa: SIM905
"""https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#reserved_keywords"""

ODD_NAMES = """
Größe 書名 a-b x&y 100% 1st it's a:b=c<d> #1 a|b мойключ __index date timestamp
""".split()  # noqa: SIM905
"""Column names of BigQuery that need quotes, or that look like something else.

https://cloud.google.com/bigquery/docs/schemas#flexible-column-names
"""

STEP_ASIDE = ("gemini_batch_target", "gemini_batch_number")
"""Names that statements leave to a column that has one."""

_MINE = {"isbn": "STRING"}, {"title": "STRING"}
_USERS = {"isbn", "title", "cover", "genre", "years"}
_OBJECT = {
    "type": "OBJECT",
    "properties": {"genre": {"type": "STRING"}, "years": {"type": "ARRAY", "items": {"type": "INTEGER"}}},
}


@functools.cache
def internal_names() -> dict[str, tuple[str, ...]]:
    """Return the names that the statements of each builder use: of WITH clauses, aliases, columns, temporary tables.

    Our statements spell what belongs to the language in capitals. A name can hide a column in its own statement only.
    """
    shapes = (
        Shape(*_MINE, media=("cover",), schema=_OBJECT, done=2, sharding=SOME_JOBS, submissions=2),
        Shape(*_MINE, rows="recursive", sharding=MANY_JOBS, response="STRING"),
        Shape(*_MINE, embeds=True, dimensions=2),
        Shape(*_MINE, embeds=True, response="STRING"),
    )
    return {
        builder: tuple(
            dict.fromkeys(
                name
                for shape in shapes
                for case in cases(shape)
                for name in _names_in(case.sql)
                if name not in STEP_ASIDE
            )
        )
        for builder, cases in BUILDERS.items()
    }


def _names_in(sql: str) -> Iterator[str]:
    quoted = (name for name in re.findall(r"`([^`]+)`", sql) if "." not in name)
    plain = re.findall(r"(?<![@\w])[a-z_][a-z0-9_]*\b", unquoted(sql))
    return (name for name in (*plain, *quoted) if name not in _USERS)


def quoted_names() -> tuple[str, ...]:
    """Return names that a statement can't hold without quotes, and such as look like something else.

    Reserved words are in capitals where a name of ours differs in nothing else.
    """
    return (*STEP_ASIDE, *(word.upper() for word in RESERVED_WORDS), *ODD_NAMES, "a b", "x" * 300)


def neutral_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name one that nothing else has, as long in UTF-8."""
    of_size: dict[int, Iterator[str]] = {}
    return {name: next(of_size.setdefault(size := len(name.encode()), _texts(size))) for name in names}


def _texts(size: int) -> Iterator[str]:
    """Yield texts of letters that hardly any word has, none of which holds another."""
    middle = size - 2
    return (f"j{''.join(letters).rjust(middle, 'q')}k" for letters in product("qzxv", repeat=min(middle, 4)))
