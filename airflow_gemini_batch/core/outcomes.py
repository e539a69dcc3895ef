"""The outcomes of requests, and which failures the same request would meet again."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of one request."""

    OK = "ok"
    RETRYABLE = "retryable"
    REJECTED = "rejected"
    BLOCKED = "blocked"
    TRUNCATED = "truncated"
    INVALID = "invalid"
    """There is an answer, and not of the kind that was asked for: without any text, or, as only landing checks, one
    that does not fit the schema."""
    MISSING = "missing"

    @property
    def answered(self) -> bool:
        """Whether there is a usable answer."""
        return self is Outcome.OK

    @property
    def retried(self) -> bool:
        """Whether the request is worth another job."""
        return self in (Outcome.RETRYABLE, Outcome.MISSING)


ACCESS_CODES = (401, 403, 7, 16)
"""Codes, of HTTP and gRPC, of requests that were refused because of who asked: a right that is granted later helps."""

_FINAL = tuple(str(outcome) for outcome in Outcome if not (outcome.answered or outcome.retried))


def failed_for_good(outcome: str | None, code: int | None) -> bool:
    """Return whether a request has failed in a way that is not expected to change when it is asked again."""
    return outcome in _FINAL and code not in ACCESS_CODES


def failed_for_good_sql(outcome: str, code: str) -> str:
    """Return the condition :func:`failed_for_good`, never NULL, for BigQuery and DuckDB.

    :param outcome: an expression, as is the code.
    """
    final = ", ".join(f"'{name}'" for name in _FINAL)
    return (
        f"(COALESCE({outcome}, '') IN ({final}) AND COALESCE({code}, 0) NOT IN "
        f"({', '.join(map(str, ACCESS_CODES))}))"
    )
