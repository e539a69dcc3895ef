"""Texts of others as people read them: in messages, logs and on terminals."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_MOST = 50


def listed(names: Iterable[str], most: int = _MOST) -> str:
    """Return names as one text, and how many there are beyond the first ones."""
    rest = iter(names)
    first = list(islice(rest, most))
    others = sum(1 for _ in rest)
    return ", ".join(first) + (f" and {others:,} more" if others else "")
