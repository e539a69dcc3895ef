"""Vectors as they come, and what lands of them: Python and SQL have to say the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LENGTH = 3
"""The length that is asked for."""


@dataclass(frozen=True)
class Case:
    """A vector as it came, and what lands of it: the numbers, or why none do."""

    name: str
    values: Any
    lands: list[float] | str


_EMPTY = "the vector is empty"
_ZERO = "the vector is zero"
_NO_NUMBER = "the vector holds something that is not a finite number"

CASES = [
    Case("fits", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
    Case("whole numbers", [1, 0, -2], [1.0, 0.0, -2.0]),
    Case("longer", [0.6, 0.0, 0.8, 9.0], [0.6, 0.0, 0.8]),
    Case("longer and not of length 1", [3.0, 0.0, 4.0, 12.0, 7.0], [0.6, 0.0, 0.8]),
    Case("longer with something odd behind", [3.0, 0.0, 4.0, None], [0.6, 0.0, 0.8]),
    Case("small", [3e-100, 0.0, 4e-100, 1.0], [0.6, 0.0, 0.8]),
    Case("large", [3e100, 0.0, 4e100, 1.0], [0.6, 0.0, 0.8]),
    Case("shorter", [1.0, 2.0], "the vector has 2 dimensions, not the 3 asked for"),
    Case("empty", [], _EMPTY),
    Case("not a list", 0.5, _EMPTY),
    Case("an object", {"values": [1.0]}, _EMPTY),
    Case("zero", [0, 0.0, -0.0], _ZERO),
    Case("zero before the cut", [0.0, 0.0, 0.0, 1.0], _ZERO),
    Case("too small to compare", [1e-160, 0.0, 0.0], _ZERO),
    Case("too large to compare", [1e160, 0.0, 0.0], _NO_NUMBER),
    Case("null", [1.0, None, 1.0], _NO_NUMBER),
    Case("text", [1.0, "NaN", 1.0], _NO_NUMBER),
    Case("number as text", [1.0, "1.0", 1.0], _NO_NUMBER),
    Case("list within", [1.0, [2.0], 1.0], _NO_NUMBER),
    Case("shorter and odd", [1.0, None], _NO_NUMBER),
]
