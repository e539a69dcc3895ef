"""Findings of a preflight: how they are counted, worded and raised, all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.core.summary import Summary
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError

_LISTED_KINDS = 10
# Each row may have a problem of its own, so they are not all remembered.
_COUNTED_KINDS = 1000


class Severity(StrEnum):
    """Whether a finding keeps a job from being submitted."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that could not be checked.

    :param hint: what to do about it; empty where the message says so already.
    :param where: such as ``line 3`` or ``source gs://bucket/requests.jsonl``; empty for the job itself.
    :param retryable: whether waiting may help, as with a source that does not exist yet.
    """

    severity: Severity
    message: str
    hint: str = ""
    where: str = ""
    retryable: bool = False

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"


def error(message: str, hint: str = "", where: str = "", *, retryable: bool = False) -> Finding:
    """Return a finding that keeps the job from being submitted."""
    return Finding(Severity.ERROR, message, hint, where, retryable)


def warning(message: str, hint: str = "", where: str = "") -> Finding:
    """Return a finding that is logged and stops nothing."""
    return Finding(Severity.WARNING, message, hint, where)


class RowProblems:
    """Problems of rows, counted by message, with the first row that has each."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, str]] = {}
        self._rows: dict[str, int] = {}

    def add(self, message: str, row: str, hint: str = "") -> None:
        """Count a problem of a row; ``row`` names it, such as ``line 3``."""
        message, row = shown(message), shown(row)
        if message not in self._kinds and len(self._kinds) >= _COUNTED_KINDS:
            return
        self._kinds.setdefault(message, (row, hint))
        self._rows[message] = self._rows.get(message, 0) + 1

    def findings(self, severity: Severity) -> list[Finding]:
        """Return a finding for each of the first ten kinds of problems, and one for all the others."""
        found = []
        for message, (row, hint) in list(self._kinds.items())[:_LISTED_KINDS]:
            others = self._rows[message] - 1
            found.append(Finding(severity, message, hint, f"{row} and {others:,} more" if others else row))
        if (unlisted := len(self._kinds) - _LISTED_KINDS) > 0:
            at_least = "at least " if len(self._kinds) >= _COUNTED_KINDS else ""
            found.append(Finding(severity, f"rows have {at_least}{unlisted:,} more kinds of problems"))
        return found


def raise_findings(findings: Sequence[Finding], warn: Callable[..., None]) -> None:
    """Raise all errors as one, as :func:`raise_errors` does; without any, log the warnings."""
    raise_errors(findings, warn)
    _log_warnings(findings, warn)


def raise_errors(findings: Sequence[Finding], warn: Callable[..., None]) -> None:
    """Raise all errors as one, once the warnings are logged; without any, do nothing.

    :param warn: takes a format and its arguments, as ``Logger.warning`` does.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when there is an error, and
    :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when waiting may help against all of them.
    """
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return
    _log_warnings(findings, warn)
    count = f"{len(errors)} errors" if len(errors) > 1 else "1 error"
    kind = SourceNotReadyError if all(finding.retryable for finding in errors) else InvalidRequestError
    # An error may have lines of its own: numbers say where one begins.
    listed = (f"{n}. {finding}".replace("\n", "\n   ") for n, finding in enumerate(errors, 1))
    raise kind("\n".join([f"the preflight found {count}, nothing was submitted:", *listed]))


def _log_warnings(findings: Sequence[Finding], warn: Callable[..., None]) -> None:
    for finding in findings:
        if finding.severity is Severity.WARNING:
            warn("Preflight: %s", finding)


def preflight_summary(findings: Sequence[Finding], places: Mapping[str, str]) -> Summary:
    """Describe a preflight without errors.

    :param places: addresses by what is there.
    """
    return Summary(
        headline="Preflight passed: source, requests and target are ready.",
        warnings=[str(finding) for finding in findings],
        places=places,
        next_step="The build task makes the requests.",
    )
