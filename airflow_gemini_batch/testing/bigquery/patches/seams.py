"""Replace single functions of bqemulator, and refuse to when they are not where they were."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

SUPPORTED_VERSION = "1.4."
_replaced: set[tuple[str, str]] = set()


class SeamMissingError(RuntimeError):
    """bqemulator does not have a function that a correction replaces; retrying cannot help."""


def check_version() -> None:
    """Raise :class:`SeamMissingError` unless the installed bqemulator is one that the corrections were written for."""
    found = version("bqemulator")
    if not found.startswith(SUPPORTED_VERSION):
        raise SeamMissingError(
            f"The local BigQuery server corrects bqemulator {SUPPORTED_VERSION}x and found {found}. "
            f"Install 'bqemulator=={SUPPORTED_VERSION}*'."
        )


def replace(owner: str, name: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in the place of one attribute; the second time for the same attribute does nothing.

    :param owner: a module, or ``module:Class``.
    :param name: attribute of the module or class.
    :param make: takes the original and gives its replacement.

    Raises :class:`SeamMissingError` when the owner has no such attribute.
    """
    if (owner, name) in _replaced:
        return
    module, _, class_name = owner.partition(":")
    holder: Any = importlib.import_module(module)
    if class_name:
        holder = getattr(holder, class_name)
    if name not in vars(holder):
        raise _missing(f"it has no {owner}.{name}")
    original = vars(holder)[name]
    setattr(holder, name, make(original))
    _replaced.add((owner, name))


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn a name that can't be imported from bqemulator into :class:`SeamMissingError`."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise _missing(str(error)) from error


def _missing(what: str) -> SeamMissingError:
    return SeamMissingError(
        f"The local BigQuery server can't correct bqemulator {version('bqemulator')}: {what}. Install the release "
        f"that airflow-gemini-batch was tested with: 'bqemulator=={SUPPORTED_VERSION}*'."
    )
