"""Lines of JSON from a stream, in constant memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import cut_line, is_too_large

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


_CHUNK = 4 * 1024 * 1024


class Readable(Protocol):
    """What can be read in pieces."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""


def iter_lines(stream: Readable, chunk: int = _CHUNK, longest: int = LONGEST_ROW) -> Iterator[bytes]:
    r"""Yield the lines that hold more than white space, without their line ends (``\n`` or ``\r\n``).

    :param chunk: bytes to read at a time; as many as the stream fetches, so that it need not keep a rest.
    :param longest: most bytes of a line, with its end; a larger one becomes a
        :func:`~airflow_gemini_batch.core.jsonl.cut_line`.
    """
    reader = io.BufferedReader(_Raw(stream), chunk)
    for line in iter(partial(reader.readline, longest + 1), b""):
        if is_too_large(line, longest) or len(line) > longest:
            _skip_rest(reader, line)
            yield cut_line(line)
        elif text := line.strip():
            yield text


class _Raw(io.RawIOBase):
    """A stream as the standard library reads it, whose search for line ends is a third of the work of any other."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        piece = self._stream.read(len(view))
        view[: len(piece)] = piece
        return len(piece)


_REST = 2**20


def raw_lines(stream: BinaryIO, longest: int) -> Iterator[bytes]:
    """Yield all lines, blank ones and line ends included, so that counting them gives the line numbers.

    :param stream: buffered.
    :param longest: of a longer line ``longest + 1`` bytes are given and the rest is skipped.
    """
    while line := stream.readline(longest + 1):
        yield line
        _skip_rest(stream, line)


def _skip_rest(stream: BinaryIO | io.BufferedReader, line: bytes) -> None:
    while not line.endswith(b"\n") and (line := stream.readline(_REST)):
        pass
