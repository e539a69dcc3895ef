"""What a preflight finds, and how it is told: everything at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError


class Severity(StrEnum):
    """Whether a finding keeps a job from being submitted."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or that could not be checked.

    :param message: what is wrong.
    :param way_out: what to do about it; empty where the message says so already.
    :param place: where, such as ``line 3`` or ``source gs://bucket/requests.jsonl``; empty for the job itself.
    :param retryable: whether it may be mended by itself, as a source that is not there yet.
    """

    severity: Severity
    message: str
    hint: str = ""
    place: str = ""
    retryable: bool = False

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


def error(message: str, hint: str = "", place: str = "", *, retryable: bool = False) -> Finding:
    """Make a finding that keeps the job from being submitted."""
    return Finding(Severity.ERROR, message, hint, place, retryable)


def warning(message: str, hint: str = "", place: str = "") -> Finding:
    """Make a finding that is told and does no more."""
    return Finding(Severity.WARNING, message, hint, place)


def raise_findings(findings: Sequence[Finding], warn: Callable[..., None]) -> None:
    """Tell the warnings, then raise all errors as one.

    :param warn: takes a format and its arguments, as ``Logger.warning`` does.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when there is an error, and
    :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when all of them may be mended by themselves.
    """
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    for finding in findings:
        if finding.severity is Severity.WARNING:
            warn("Preflight: %s", finding)
    if errors:
        listed = "\n".join(f"- {finding}" for finding in errors)
        kind = SourceNotReadyError if all(finding.retryable for finding in errors) else InvalidRequestError
        raise kind(f"nothing was submitted; faults found by the preflight: {len(errors)}\n{listed}")
