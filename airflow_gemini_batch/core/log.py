"""The logger that this package writes to."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A logger of the standard library, or the one that Airflow gives a task."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Log a message; takes a format and its arguments, as the other methods do."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Log a warning."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Log an error that somebody has to act on."""
