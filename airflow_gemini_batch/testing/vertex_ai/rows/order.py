"""Rows out of order, written twice, left out: what happens to answers on their way into the output."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import TypeVar

Row = TypeVar("Row")

# Rows held in memory at once; a job with more is shuffled window by window.
_WINDOW = 1_000


def shuffled(rows: Iterable[Row], rng: random.Random) -> Iterator[Row]:
    """Return the rows in another order; never in the given one when there are two or more."""
    window: list[Row] = []
    for row in rows:
        window.append(row)
        if len(window) == _WINDOW:
            yield from _mixed(window, rng)
            window = []
    yield from _mixed(window, rng)


def _mixed(window: list[Row], rng: random.Random) -> list[Row]:
    order = list(range(len(window)))
    rng.shuffle(order)
    if order == sorted(order):
        order = order[1:] + order[:1]
    return [window[position] for position in order]


def repeated(rows: Iterable[Row], share: float, rng: random.Random) -> Iterator[Row]:
    """Return the rows, a share of them twice; the first one always, so that a small job is struck too."""
    for position, row in enumerate(rows):
        yield row
        if position == 0 or rng.random() < share:
            yield row


def thinned(rows: Iterable[Row], share: float, rng: random.Random) -> Iterator[Row]:
    """Return the rows without a share of them; the first one is always left out."""
    for position, row in enumerate(rows):
        if position and rng.random() >= share:
            yield row
