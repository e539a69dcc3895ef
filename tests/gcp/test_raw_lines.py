from __future__ import annotations

import io

import pytest

from airflow_gemini_batch.gcp.lines import raw_lines


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a\n\r\nb", [b"a\n", b"\r\n", b"b"]),
        (b"x" * 10 + b"\n" + b"y" * 9 + b"\n", [b"x" * 10 + b"\n", b"y" * 9 + b"\n"]),
        (b"x" * 50 + b"\nb\n", [b"x" * 11, b"b\n"]),
        (b"x" * 50, [b"x" * 11]),
        (b"x" * 3 * 2**20 + b"\nb", [b"x" * 11, b"b"]),
    ],
)
def test_long_lines_are_cut_and_all_are_counted(content: bytes, lines: list[bytes]) -> None:
    assert list(raw_lines(io.BytesIO(content), 10)) == lines
