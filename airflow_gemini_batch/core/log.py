"""The logger that this package writes to."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from airflow_gemini_batch.core.shown import shown


class Log(Protocol):
    """A logger of the standard library, or the one that Airflow gives a task."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Log a message; takes a format and its arguments, as the other methods do."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Log a warning."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Log an error that somebody has to act on."""


class ShownLog:
    """A logger whose messages can't forge lines or steer a terminal, whatever their arguments hold.

    :param log: what it writes to.
    """

    def __init__(self, log: Any) -> None:
        self._log = log

    def debug(self, message: str, /, *args: Any, **options: Any) -> None:
        """Log a detail."""
        self._write(self._log.debug, message, args, options)

    def info(self, message: str, /, *args: Any, **options: Any) -> None:
        """Log a message."""
        self._write(self._log.info, message, args, options)

    def warning(self, message: str, /, *args: Any, **options: Any) -> None:
        """Log a warning."""
        self._write(self._log.warning, message, args, options)

    def error(self, message: str, /, *args: Any, **options: Any) -> None:
        """Log an error that somebody has to act on."""
        self._write(self._log.error, message, args, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def _write(self, write: Any, message: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if isinstance(self._log, logging.Logger):
            # The line of the caller, not this one.
            options["stacklevel"] = options.get("stacklevel", 1) + 2
        write(message, *map(_shown, args), **options)


def _shown(argument: Any) -> Any:
    if isinstance(argument, (int, float)):
        return argument
    # Errors of this package have line ends of their own, those of others may repeat what a row holds.
    is_foreign = isinstance(argument, BaseException) and not hasattr(argument, "retryable")
    return shown(str(argument), lines=not is_foreign)


@dataclass(slots=True)
class Changes:
    """Decides what a wait that may last for days logs: each change, and once an hour that nothing has changed."""

    repeat_at: datetime = field(default=datetime.max.replace(tzinfo=UTC), init=False)
    """When the same is logged again, once there is something."""
    _last: object = field(default=None, init=False)

    def take(self, seen: object, now: datetime) -> bool:
        """Whether to log what is seen, which is then the one to compare the next with."""
        if seen == self._last and now < self.repeat_at:
            return False
        self._last, self.repeat_at = seen, now + timedelta(hours=1)
        return True
