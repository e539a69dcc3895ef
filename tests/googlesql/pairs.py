"""Few combinations of values that hold each pair of values of two dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any


def pairwise(dimensions: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield combinations until each value of a dimension has met each value of each other one."""
    names = list(dimensions)
    missing = {
        ((one, a), (other, b))
        for one, other in combinations(names, 2)
        for a, b in product(range(len(dimensions[one])), range(len(dimensions[other])))
    }
    while missing:
        chosen = dict(min(missing))
        for name in names:
            if name not in chosen:
                values = range(len(dimensions[name]))
                chosen[name] = max(values, key=partial(_met, missing, chosen, name))
        missing -= set(combinations([(name, chosen[name]) for name in names], 2))
        yield {name: dimensions[name][chosen[name]] for name in names}


def _met(missing: set[Any], chosen: Mapping[str, int], name: str, value: int) -> int:
    """Return how many missing pairs a value would complete."""
    now = {*chosen.items(), (name, value)}
    return sum(one in now and other in now for one, other in missing)


def everything(dimensions: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield all combinations."""
    for values in product(*dimensions.values()):
        yield dict(zip(dimensions, values, strict=True))
