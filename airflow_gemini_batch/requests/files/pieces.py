"""Files of rows in pieces, which are read when somebody asks, in whatever thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.core.values import text_of
from airflow_gemini_batch.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from airflow_gemini_batch.requests.columns import Batch

Row = Mapping[str, Any]

PIECE_BYTES = 2**19
_PIECE_ROWS = 1000


class Piece(NamedTuple):
    """Some rows.

    :param size: about how many bytes they have.
    :param read: reads them; raises :class:`.InvalidRequestError` for what can't be read.
    """

    size: int
    read: Callable[[], Batch]


def read_piece(size: int, batch: Batch) -> Piece:
    """Return a piece whose rows are there already."""
    return Piece(size, lambda: batch)


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a stream in whole lines, some :data:`PIECE_BYTES` at a time, a longer line by itself.

    The beginning of a line that is longer than :data:`~airflow_gemini_batch.core.defaults.LONGEST_ROW` is the last.
    """
    begun: list[bytes] = []
    size = 0
    while size <= LONGEST_ROW and (content := stream.read(PIECE_BYTES)):
        if cut := content.rfind(b"\n") + 1:
            yield b"".join([*begun, content[:cut]])
            begun, size = [], 0
        begun.append(content[cut:])
        size += len(content) - cut
    if size:
        yield b"".join(begun)


def pieces_of(rows: Iterable[Row]) -> Iterator[Piece]:
    """Yield many rows at a time, and of large ones few, so that memory does not grow with their size."""
    piece: list[Row] = []
    size = 0
    for row in rows:
        piece.append(row)
        size += size_of(row)
        if size >= PIECE_BYTES or len(piece) >= _PIECE_ROWS:
            yield read_piece(size, piece)
            piece, size = [], 0
    yield read_piece(size, piece)


def size_of(row: Row) -> int:
    """Return about how many bytes a row takes in a request."""
    size = 0
    for value in row.values():
        if isinstance(value, (str, bytes)):
            size += len(value)
        elif isinstance(value, (list, tuple, Mapping)):
            size += len(text_of(value))
    return size


def check_utf8(content: bytes) -> None:
    """Raise pyarrow's error for what is not UTF-8."""
    import pyarrow as pa

    offsets = pa.array([0, len(content)], pa.int64()).buffers()[1]
    pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(content)).validate(full=True)


def unique(names: Sequence[str], file: str) -> tuple[str, ...]:
    """Return the names of a file's columns; raises :class:`.InvalidRequestError` for one that two columns have."""
    # Columns without a name can't be asked for, so they may be many.
    counts = Counter(name for name in names if name)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidRequestError(
            f"{file} has more than one column {listed(map(repr, repeated))}: rename them, so that each name is "
            "used once"
        )
    return tuple(names)


def check_columns(needed: Sequence[str], present: Sequence[str], file: str) -> None:
    """Raise :class:`.InvalidRequestError` for a file that lacks a column."""
    if missing := [name for name in needed if name not in present]:
        raise InvalidRequestError(
            f"{file} has no column {listed(map(repr, missing))}, unlike the files before it. Its columns are: "
            f"{listed(present)}"
        )
