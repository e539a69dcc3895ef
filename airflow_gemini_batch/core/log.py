"""Where messages go."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A logger of the standard library, or the one that Airflow gives a task."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Tell; takes a format and its arguments, as the others do."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Warn."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Tell what somebody has to see to."""
