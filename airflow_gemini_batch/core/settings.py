"""Checks of settings that are not template fields: made where Airflow reads the DAG file, before anything is paid."""

from __future__ import annotations

from typing import Any


def check_fraction(value: Any) -> None:
    """Raise :class:`ValueError` for a ``max_failed_fraction`` that is not a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"max_failed_fraction: expected a number from 0 to 1, got {value!r}")


def check_row_retries(value: Any) -> None:
    """Raise :class:`ValueError` for a ``max_row_retries`` that is not a whole number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"max_row_retries: expected 0 or more, got {value!r}")


def check_seconds(name: str, value: Any, longest: float) -> None:
    """Raise :class:`ValueError` for a time that is not a number of seconds, above 0 and up to ``longest``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= longest:
        raise ValueError(
            f"{name}: expected a number of seconds above 0 and up to {longest:.0f}, got {value!r}"
        )


def check_choice(name: str, value: Any, *choices: str) -> None:
    """Raise :class:`ValueError` for a setting that is not one of its choices."""
    if value not in choices:
        raise ValueError(f"{name}: expected {' or '.join(map(repr, choices))}, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Raise :class:`ValueError` for a setting that is neither true nor false: the text ``"False"`` would be true."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected True or False, got {value!r}")
