from __future__ import annotations

import io

import pytest
from rich.console import Console

from airflow_gemini_batch.cli.screen import with_bar


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bar_is_on_a_terminal_only_and_leaves_the_lines_alone(is_terminal: bool) -> None:
    lines = [b"x" * 700_000 + b"\n", b"\n", b"y" * 700_000 + b"\n"]
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=80)
    assert list(with_bar(lines, sum(map(len, lines)), console)) == lines
    assert ("1.4/1.4 MB" in shown.getvalue()) is is_terminal
    assert is_terminal or shown.getvalue() == ""


def test_bar_goes_when_nobody_reads_on() -> None:
    shown = io.StringIO()
    lines = with_bar([b"a\n", b"b\n"], 4, Console(file=shown, force_terminal=True, width=80))
    assert next(lines) == b"a\n"
    lines.close()  # type: ignore[attr-defined]
    assert shown.getvalue().endswith("\x1b[2K")
