"""What the commands print for people."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.markup import escape

from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError

# stderr, so that stdout holds nothing but the JSON line.
screen = Console(stderr=True)


def failed(error: GeminiBatchError) -> typer.Exit:
    """Print an error and return the exit: with code 2 if the caller can fix it, else 1."""
    screen.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
    return typer.Exit(2 if isinstance(error, InvalidRequestError) else 1)
