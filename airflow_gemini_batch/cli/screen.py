"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import typer
from rich import markup
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError

# stderr, so that stdout holds nothing but the JSON line.
screen = Console(stderr=True)


def escape(text: str, *, lines: bool = False) -> str:
    """Return a text for printing: without markup, and without characters that a terminal obeys.

    :param lines: leave line ends as they are, for a message of our own.
    """
    return markup.escape(shown(text, lines=lines))


def failed(error: GeminiBatchError) -> typer.Exit:
    """Print an error and return the exit: with code 2 if the caller can fix it, else 1."""
    screen.print(f"[red]{escape(str(error), lines=True)}[/]", soft_wrap=True)
    return typer.Exit(2 if isinstance(error, InvalidRequestError) else 1)


_BAR_STEP = 2**20


def with_bar(lines: Iterable[bytes], size: int, console: Console = screen) -> Iterator[bytes]:
    """Yield the lines of a file, with a bar on a terminal that shows how much of it is read.

    :param size: of the file, in bytes.
    """
    if not console.is_terminal:
        yield from lines
        return
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=size)
        read = 0
        for line in lines:
            yield line
            read += len(line)
            if read >= _BAR_STEP:
                bar.advance(task, read)
                read = 0
