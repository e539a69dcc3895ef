from __future__ import annotations

import io

import pytest

from airflow_gemini_batch.core.jsonl import LineError, read_object, tolerant_object
from airflow_gemini_batch.gcp.lines import iter_lines

TEXTS = [
    pytest.param(b"", [], id="empty"),
    pytest.param(b"\n", [], id="line-end-only"),
    pytest.param(b"\n\r\n \n\t\n", [], id="blank-lines-only"),
    pytest.param(b"a", [b"a"], id="no-line-end"),
    pytest.param(b"a\n", [b"a"], id="one-line"),
    pytest.param(b"a\nb", [b"a", b"b"], id="last-line-without-end"),
    pytest.param(b"a\nb\n", [b"a", b"b"], id="two-lines"),
    pytest.param(b"a\r\nb\r\n", [b"a", b"b"], id="windows-line-ends"),
    pytest.param(b"\n\na\n\n \r\nb\n\n", [b"a", b"b"], id="blank-lines-between"),
    pytest.param(b'{"a": "x\ry"}\n{"b": 1}', [b'{"a": "x\ry"}', b'{"b": 1}'], id="lone-carriage-return"),
    pytest.param("é本😀\n本\n".encode(), ["é本😀".encode(), "本".encode()], id="characters-of-many-bytes"),
    pytest.param(
        "a\u2028b\u0085c\u00a0d\nb".encode(),
        ["a\u2028b\u0085c\u00a0d".encode(), b"b"],
        id="other-line-separators",
    ),
    pytest.param(b"a\x00b\xff\n\xfe", [b"a\x00b\xff", b"\xfe"], id="any-bytes"),
    pytest.param(
        b"abcdefghij\nk\nlmnopqrstuvwxyz", [b"abcdefghij", b"k", b"lmnopqrstuvwxyz"], id="long-lines"
    ),
]


@pytest.mark.parametrize(("text", "lines"), TEXTS)
def test_lines_do_not_depend_on_how_the_stream_is_cut(text: bytes, lines: list[bytes]) -> None:
    for chunk in range(1, len(text) + 2):
        assert list(iter_lines(io.BytesIO(text), chunk)) == lines, f"read {chunk} bytes at a time"


@pytest.mark.parametrize(("text", "lines"), TEXTS)
def test_lines_are_read_in_one_piece(text: bytes, lines: list[bytes]) -> None:
    assert list(iter_lines(io.BytesIO(text))) == lines


class Pieces:
    """A stream that gives what it has, however much is asked for."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.asked: list[int] = []

    def read(self, size: int = -1, /) -> bytes:
        self.asked.append(size)
        return self._pieces.pop(0) if self._pieces else b""


def test_short_reads_are_no_end() -> None:
    assert list(iter_lines(Pieces(b"a", b"b\nc", b"\r", b"\n", b"d"))) == [b"ab", b"c", b"d"]


def test_stream_is_read_only_as_far_as_lines_are_taken() -> None:
    stream = Pieces(b"a\nb\n", b"c\n")
    lines = iter_lines(stream, 4)
    assert (next(lines), next(lines), stream.asked) == (b"a", b"b", [4])


def test_line_longer_than_many_pieces_is_one_line() -> None:
    line = b"x" * 1_000_000
    assert list(iter_lines(io.BytesIO(line + b"\nend"), 100)) == [line, b"end"]


@pytest.mark.parametrize("chunk", [1, 7, 100])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"a" * 9 + b"\n" + b"c" * 30 + b"\nb", [b"a" * 9, None, b"b"]),
        (b"{}" + b" " * 30 + b"\nb", [None, b"b"]),
        (b"a" * 30, [None]),
    ],
)
def test_lines_that_are_too_long_are_cut_and_are_not_json(text, lines, chunk) -> None:
    found = list(iter_lines(io.BytesIO(text), chunk, longest=10))
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        if expected is None:
            assert tolerant_object(line) is None
            with pytest.raises(LineError, match="the line is longer than 32 MB"):
                read_object(line)
        else:
            assert line == expected
