"""Texts of others as people read them: in messages, logs and on terminals.

A key, a file's name or an answer may hold line ends that forge a line of a log, or characters that a terminal obeys.
Where such a text enters a message, :func:`shown` makes escapes of them. Errors, logs and the command line do so once
more with the whole message, in which line ends are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

_MOST = 50

# Control characters of both sets, marks of direction, further line ends, halves of surrogate pairs.
_UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_OF_A_VALUE, _OF_A_MESSAGE = f"[\t\n{_UNSEEN}]", f"[{_UNSEEN}]"


def shown(text: str, *, lines: bool = False) -> str:
    r"""Return a text with escapes (``\n``, ``\x1b``, ``\u202e``) for what would not be seen as it is.

    :param lines: leave line ends and tabs as they are, for a message of our own.
    """
    # The module compiles each pattern once, and not where a DAG file is read.
    return re.sub(_OF_A_MESSAGE if lines else _OF_A_VALUE, _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def listed(names: Iterable[str], most: int = _MOST) -> str:
    """Return names as one text for a message, and how many there are beyond the first ones."""
    rest = map(shown, names)
    first = list(islice(rest, most))
    others = sum(1 for _ in rest)
    return ", ".join(first) + (f" and {others:,} more" if others else "")
