"""Few combinations of values that hold each pair of values of two dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any


def pairwise(dimensions: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield combinations until each value of a dimension has met each value of each other one."""
    places = product(*(range(len(values)) for values in dimensions.values()))
    pairs = {chosen: set(combinations(enumerate(chosen), 2)) for chosen in places}
    missing = set().union(*pairs.values())
    while missing:
        chosen = max(pairs, key=lambda one: len(pairs[one] & missing))
        missing -= pairs[chosen]
        yield {name: values[place] for (name, values), place in zip(dimensions.items(), chosen, strict=True)}


def everything(dimensions: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield all combinations."""
    for values in product(*dimensions.values()):
        yield dict(zip(dimensions, values, strict=True))
