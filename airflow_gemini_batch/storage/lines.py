"""Lines of JSON from a stream, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

_CHUNK = 4 * 1024 * 1024


class Readable(Protocol):
    """What can be read in pieces."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


def iter_lines(stream: Readable, chunk: int = _CHUNK) -> Iterator[bytes]:
    r"""Yield the lines that hold more than white space, without their line ends (``\n`` or ``\r\n``)."""
    pending: list[bytes] = []
    while piece := stream.read(chunk):
        head, newline, rest = piece.partition(b"\n")
        if not newline:
            pending.append(piece)
            continue
        first = b"".join([*pending, head]).strip()
        if first:
            yield first
        *whole, tail = rest.split(b"\n")
        for line in whole:
            if line := line.strip():
                yield line
        pending = [tail] if tail else []
    if last := b"".join(pending).strip():
        yield last
