"""Files of lines in pieces on the worker's disk, for readers that want a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.jsonl import cut_line, without_mark
from airflow_gemini_batch.disk.private_folder import make_private
from airflow_gemini_batch.gcp.lines import Readable

PIECE = 64 * 1024 * 1024
LONG_LINE = 2 * 1024 * 1024
_CHUNK = 8 * 1024 * 1024
_odd_text = re.compile(rb'"text"\s*:\s*[^"n\s]').search


def has_odd_text(lines: bytes) -> bool:
    """Return whether a field ``text`` is neither a text nor null, as far as can be told without reading the JSON."""
    return bool(_odd_text(lines))


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines of a file, each of them whole.

    :param path: holds the lines up to :data:`LONG_LINE` bytes.
    :param long_lines: holds the longer ones; of one that is longer than a row may be,
        :func:`~airflow_gemini_batch.core.jsonl.cut_line`. None if there is none.
    :param size: bytes in ``path``.
    :param is_usual: whether nothing in it is odd, as far as can be told without reading the JSON: it may be false for
        no reason.
    """

    path: Path
    long_lines: Path | None
    size: int
    is_usual: bool = True

    def remove(self) -> None:
        """Remove the files."""
        self.path.unlink()
        if self.long_lines:
            self.long_lines.unlink()


def pieces(
    stream: Readable, folder: Path, is_odd: Callable[[bytes], bool] = has_odd_text, size: int = PIECE
) -> Iterator[Piece]:
    """Yield a stream in pieces; the next one is written while one is used, and two are on the disk at most.

    :param folder: takes the files; the caller removes those that were yielded.
    :param is_odd: whether some lines may hold what a reader by declared types does not see.
    :param size: bytes of a piece, and a chunk more at most.
    """
    cutter = _Cutter(stream, folder, is_odd, size)
    with ThreadPoolExecutor(1, "pieces") as background:
        coming = background.submit(cutter.next)
        while piece := coming.result():
            coming = background.submit(cutter.next)
            yield piece


class _Cutter:
    def __init__(self, stream: Readable, folder: Path, is_odd: Callable[[bytes], bool], size: int) -> None:
        self._stream = stream
        self._folder = folder
        self._is_odd = is_odd
        self._size = size
        self._names = count()
        self._rest = b""
        self._at_start = True
        self._ended = False
        self._is_usual = True

    def next(self) -> Piece | None:
        """Write the next piece; None at the end."""
        if self._ended and not self._rest:
            return None
        path = self._folder / f"piece-{next(self._names)}.jsonl"
        long_lines = path.with_suffix(".long")
        written = 0
        self._is_usual = True
        with make_private(path).open("wb") as file, make_private(long_lines).open("wb") as long_file:
            while written < self._size and not self._ended:
                written += self._write(self._stream.read(_CHUNK), file, long_file)
            has_long = long_file.tell() > 0
        if not has_long:
            long_lines.unlink()
        return Piece(path, long_lines if has_long else None, written, self._is_usual)

    def _write(self, chunk: bytes, file: BinaryIO, long_file: BinaryIO) -> int:
        if self._at_start:
            chunk, self._at_start = without_mark(chunk), False
        self._ended = not chunk
        lines = self._rest + chunk
        end = len(lines) if self._ended else lines.rfind(b"\n") + 1
        self._rest = lines[end:]
        if len(self._rest) > LONGEST_ROW:
            # Enough to be recognized as too long at its end; what follows is not kept.
            self._rest = self._rest[: LONGEST_ROW + 1]
        whole = lines[:end] if self._rest else lines
        self._is_usual = self._is_usual and not self._is_odd(whole)
        if not _has_long_line(whole):
            return file.write(whole)
        written = 0
        for line in whole.split(b"\n"):
            if len(line) <= LONG_LINE:
                written += file.write(line + b"\n")
            else:
                long_file.write((line if len(line) <= LONGEST_ROW else cut_line(line)) + b"\n")
        return written


def _has_long_line(lines: bytes) -> bool:
    start = 0
    while len(lines) - start > LONG_LINE:
        end = lines.rfind(b"\n", start, start + LONG_LINE)
        if end < 0:
            return True
        start = end + 1
    return False
