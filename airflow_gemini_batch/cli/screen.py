"""What the commands print for people."""

from __future__ import annotations

import typer
from rich import markup
from rich.console import Console

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
