"""Scripts with a branch: neither the analyzer nor the evaluator takes ``IF``.

For the form in which this package writes it, with each word of it at the beginning of a line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_BRANCH = re.compile(r"^IF (\([^\n]*\)) THEN\n(.*?)^ELSE\n(.*?)^END IF;\n", re.MULTILINE | re.DOTALL)


def with_all_branches(sql: str) -> str:
    """Return a script that holds the condition as a query, and the statements of both branches."""
    return _BRANCH.sub(r"SELECT \1;\n\2\3", sql)


def parts_that_run(sql: str, holds: Callable[[str], bool]) -> Iterator[str]:
    """Yield the parts of a script that run, one after the other.

    :param holds: runs a query, and returns whether its one value is true.
    """
    before, *branch = _BRANCH.split(sql)
    yield before
    if branch:
        condition, then, otherwise, after = branch
        yield then if holds(f"SELECT {condition} AS holds") else otherwise
        yield after
