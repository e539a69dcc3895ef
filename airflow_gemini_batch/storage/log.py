"""Where this room's messages go."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A logger of the standard library, or the one that Airflow gives a task."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Take a format and its arguments."""
