"""The lines of a file as they are, for checking; ``lines.py`` reads those of a file that is in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

_REST = 2**20


def raw_lines(stream: BinaryIO, longest: int) -> Iterator[bytes]:
    """Yield all lines, blank ones and line ends included, so that counting them gives the line numbers.

    :param stream: buffered.
    :param longest: of a longer line ``longest + 1`` bytes are given and the rest is skipped.
    """
    while line := stream.readline(longest + 1):
        yield line
        while not line.endswith(b"\n") and (line := stream.readline(_REST)):
            pass
