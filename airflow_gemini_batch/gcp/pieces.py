"""Files of lines in pieces on the worker's disk, for readers that want files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import cut_line, without_mark
from airflow_gemini_batch.core.threads import made_ahead
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.lines import Readable

PIECE = 32 * 1024 * 1024
"""Bytes of a piece, and a chunk more at most; of one with long lines a fourth."""

LONG_LINE = 2 * 1024 * 1024
_MOST_FILES = 256
# DuckDB reads 2,048 lines at a time, and holds several copies of them.
_HEAVY = 4 * 1024
_MOST_HEAVY = 2048 * _HEAVY
_CHUNK = 8 * 1024 * 1024
_AT_ONCE = 2 * 1024 * 1024
_odd_text = re.compile(rb'"text"\s*:\s*[^"n\s]').search


def has_odd_text(lines: bytes) -> bool:
    """Return whether a field ``text`` is neither a text nor null, as far as can be told without reading the JSON."""
    return bool(_odd_text(lines))


class Stream(Readable, Protocol):
    """What is read to its end and closed."""

    def close(self) -> None:
        """Give up what it holds."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines of one stream, each of them whole.

    :param source: number of the stream, from 0.
    :param path: holds the lines up to :data:`LONG_LINE` bytes. Its name ends in ``-SOURCE.jsonl``.
    :param long_lines: holds the longer ones; of one that is longer than a row may be,
        :func:`~airflow_gemini_batch.core.jsonl.cut_line`. None if there is none.
    """

    source: int
    path: Path
    long_lines: Path | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines on disk, until the end of the ``with`` statement that they are used in.

    :param parts: one of each stream that it has lines of.
    :param size: bytes of all lines.
    :param is_usual: whether nothing in it is odd, as far as can be told without reading the JSON: it may be false for
        no reason.
    """

    parts: tuple[Part, ...]
    size: int
    is_usual: bool = True

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files with the lines that are not long."""
        return tuple(part.path for part in self.parts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files."""
        for part in self.parts:
            part.path.unlink()
            if part.long_lines:
                part.long_lines.unlink()


IsOdd = Callable[[bytes], bool]
"""Whether some lines may hold what a reader by declared types does not see."""


def pieces(streams: Iterable[Stream], folder: Path, is_odd: IsOdd = lambda _: False) -> Iterator[Piece]:
    """Yield streams in pieces, the next one of which is written meanwhile. Short streams share a piece.

    :param streams: opened one after the other, and closed at their end.
    :param folder: takes the files.
    """
    return made_ahead(_Cutter(streams, folder, is_odd), "pieces")


class _Cutter(Iterator[Piece]):
    def __init__(self, streams: Iterable[Stream], folder: Path, is_odd: IsOdd) -> None:
        self._folder = folder
        self._is_odd = is_odd
        self._names = count()
        self._parts = self._all_parts(streams)
        self._written = self._heavy = 0
        self._is_usual = True

    def __next__(self) -> Piece:
        self._written, self._heavy, self._is_usual = 0, 0, True
        parts: list[Part] = []
        while not self._is_full and len(parts) < _MOST_FILES:
            if (part := next(self._parts, None)) is None:
                break
            parts.append(part)
        if not parts:
            raise StopIteration
        return Piece(tuple(parts), self._written, self._is_usual)

    @property
    def _is_full(self) -> bool:
        return self._written >= PIECE or self._heavy >= _MOST_HEAVY

    def _all_parts(self, streams: Iterable[Stream]) -> Iterator[Part]:
        """Yield the parts of all streams, each as large as there is room in the piece when it begins."""
        for source, stream in enumerate(streams):
            with closing(stream):
                chunks = whole_lines(stream)
                chunk = next(chunks, b"")
                while chunk:
                    path = self._folder / f"piece-{next(self._names)}-{source}.jsonl"
                    long_lines = path.with_suffix(".long")
                    with make_private(path).open("wb") as file, make_private(long_lines).open("wb") as others:
                        while chunk:
                            self._write(chunk, file, others)
                            chunk = b""  # Its memory is free for the next one.
                            chunk = next(chunks, b"")
                            if self._is_full:
                                break
                        has_long = others.tell() > 0
                    if not has_long:
                        long_lines.unlink()
                    yield Part(source, path, long_lines if has_long else None)

    def _write(self, lines: bytes, file: BinaryIO, others: BinaryIO) -> None:
        self._written += len(lines)
        if len(lines) > _HEAVY * (lines.count(b"\n") + 1):
            self._heavy += len(lines)
        self._is_usual = self._is_usual and not self._is_odd(lines)
        if not _has_long_line(lines):
            file.write(lines)
            return
        for line in lines.split(b"\n"):
            if len(line) <= LONG_LINE:
                file.write(line + b"\n")
            else:
                others.write((line if len(line) <= LONGEST_ROW else cut_line(line)) + b"\n")


def whole_lines(stream: Readable) -> Iterator[bytes]:
    """Yield a stream without its mark, some whole lines at a time, the last of which may lack its end."""
    rest = b""
    chunk = without_mark(stream.read(_CHUNK))
    while chunk:
        first, end = chunk.find(b"\n") + 1, chunk.rfind(b"\n") + 1
        if first:
            # The rest and its end alone, and then a few: copying all of the chunk takes as much memory again.
            yield rest + chunk[:first]
            rest = chunk[end:]
            while first < end:
                stop = chunk.rfind(b"\n", first, first + _AT_ONCE) + 1 or chunk.index(b"\n", first) + 1
                yield chunk[first:stop]
                first = stop
        else:
            # Enough to be recognized as too long at its end; what follows is not kept.
            rest = (rest + chunk)[: LONGEST_ROW + 1]
        chunk = b""  # Its memory is free for the next one.
        chunk = stream.read(_CHUNK)
    if rest:
        yield rest


def _has_long_line(lines: bytes) -> bool:
    start = 0
    while len(lines) - start > LONG_LINE:
        end = lines.rfind(b"\n", start, start + LONG_LINE)
        if end < 0:
            return True
        start = end + 1
    return False
