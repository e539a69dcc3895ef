"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

import typer
from rich import markup
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import (
    CredentialsError,
    GeminiBatchError,
    InvalidRequestError,
    JobServiceError,
    LedgerError,
    RowsUnreadableError,
)

# stderr, so that stdout holds nothing but the JSON line.
screen = Console(stderr=True)

# stdout, for what somebody has asked to see.
results = Console()

_WIDE = 1000


class ExitCode(IntEnum):
    """How the commands about jobs end."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    UNKNOWN = 3
    INTERRUPTED = 130


EXIT_CODES = (
    "Exit codes: 0 done; 1 a job ended without a result, or the service refused; 2 wrong options or no credentials; "
    "3 the service did not answer, so something is not known; 130 interrupted."
)


def escape(text: str, *, lines: bool = False) -> str:
    """Return a text for printing: without markup, and without characters that a terminal obeys.

    :param lines: leave line ends as they are, for a message of our own.
    """
    return markup.escape(shown(text, lines=lines))


def failed(error: GeminiBatchError) -> typer.Exit:
    """Print an error and return the exit: 2 if the caller can fix it, 3 if the service gave no answer, else 1."""
    screen.print(f"[red]{escape(str(error), lines=True)}[/]", soft_wrap=True)
    return typer.Exit(exit_code_of(error))


def exit_code_of(error: GeminiBatchError) -> ExitCode:
    """Return the exit code of an error."""
    if isinstance(error, (InvalidRequestError, CredentialsError)):
        return ExitCode.WRONG_INPUT
    if isinstance(error, (LedgerError, RowsUnreadableError)) or (
        isinstance(error, JobServiceError) and error.transient
    ):
        return ExitCode.UNKNOWN
    return ExitCode.FAILED


@contextmanager
def telling_errors() -> Iterator[None]:
    """Print an error of this package, and exit."""
    try:
        yield
    except GeminiBatchError as error:
        raise failed(error) from None


def table_of(columns: Sequence[str]) -> Table:
    """Return an empty table. Its first column, which is there to be copied, is never cut, and the others wrap."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=not number, overflow="ignore" if not number else "fold")
    return table


def print_table(table: Table) -> None:
    """Print a table on stdout: as wide as the terminal, or as it needs where there is none."""
    results.print(table, width=None if results.is_terminal else _WIDE)


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
