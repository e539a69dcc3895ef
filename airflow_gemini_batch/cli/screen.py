"""What the commands show to people."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError

# What is for people goes to stderr, so that the line of --json can be read by a program.
screen = Console(stderr=True)


def failed(error: GeminiBatchError) -> typer.Exit:
    """Print an error and return the exit code: 2 if the caller can fix it, 1 otherwise."""
    screen.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
    return typer.Exit(2 if isinstance(error, InvalidRequestError) else 1)
