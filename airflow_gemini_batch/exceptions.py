"""The errors of this package.

Each says whether another try can help: ``retryable`` is what the operators read to decide between an ordinary
failure, which Airflow retries, and one that skips the task's remaining retries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from airflow_gemini_batch.core.shown import shown

if TYPE_CHECKING:
    from airflow_gemini_batch.core.summary import Summary


class GeminiBatchError(Exception):
    """Base of all errors raised by this package. Its text can be logged and printed as it is."""

    retryable = True
    summary: Summary | None = None
    """What its text was made of, if it was."""

    @classmethod
    def of(cls, summary: Summary, **more: Any) -> Self:
        """Return an error whose text is a summary."""
        error = cls(str(summary), **more)
        error.summary = summary
        return error

    def __str__(self) -> str:
        return shown(super().__str__(), lines=True)


class InvalidRequestError(GeminiBatchError, ValueError):
    """A parameter of the task is not valid; nothing was sent."""

    retryable = False


@contextmanager
def as_invalid_request(parameter: str = "") -> Iterator[None]:
    """Turn a :class:`ValueError` about the user's parameters into :class:`InvalidRequestError`.

    For the parameters only: what the user's own code raises keeps its type, its trace and its retries.

    :param parameter: name of the parameter, where the error does not name it.
    """
    try:
        yield
    except ValueError as error:
        raise InvalidRequestError(f"{parameter}: {error}" if parameter else str(error)) from None


class SourceNotReadyError(GeminiBatchError):
    """The source does not exist (yet) or is empty; nothing was submitted."""


class JobServiceError(GeminiBatchError):
    """The batch-job service answered a call with an error or an unreadable body, or did not answer.

    :param message: what was asked and what came back.
    :param code: HTTP status of the answer; ``None`` when there was none (no connection, time ran out).
    :param reason: canonical status of the answer, such as ``NOT_FOUND``; empty when it gave none.
    :param sent: ``False`` when the call certainly never left: no token, no connection.
    """

    # A call that met one of these can be sent again as it is; every other 4xx asks for a change first.
    TRANSIENT_CODES = frozenset({408, 409, 429, 499})
    # Of the transient ones, those that a service gives instead of acting: too many calls, no such method. After a
    # timeout (408, 504), a conflict (409), a break (499) or a failure on the way (500, 502, 503) it may have acted.
    REFUSALS = frozenset({429, 501})

    def __init__(self, message: str, *, code: int | None = None, reason: str = "", sent: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.sent = sent

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.code is None or self.code < 400 or self.code >= 500 or self.code in self.TRANSIENT_CODES

    @property
    def had_no_effect(self) -> bool:
        """Whether it is certain that the call changed nothing: a refused create call has made no job."""
        return not self.sent or not self.transient or self.code in self.REFUSALS

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        """As ``transient``; missing credentials and roles may also be granted before the next try."""
        return self.transient or self.code in (401, 403)


class VertexApiError(JobServiceError):
    """Vertex AI answered a call with an error or an unreadable body, or did not answer."""


class CredentialsError(VertexApiError):
    """The connection cannot be read, or Google refuses its credentials."""

    transient = False
    retryable = True


class TriggererMissingError(GeminiBatchError):
    """No triggerer is running that could wait for the job; none was created, and the next try asks again."""


class SubmissionUnknownError(GeminiBatchError):
    """It is not known whether the create call made a job; the next try looks for it before it creates one."""


class ForeignJobError(GeminiBatchError):
    """A job carries the label of this submission, but is another job; it was not touched, and none was created."""

    retryable = False


class JobFailedError(GeminiBatchError):
    """The batch job ended without a usable result; the next try submits a new one.

    :param retryable: ``False`` when a new job would fail in the same way.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class JobTimeoutError(GeminiBatchError):
    """The batch job did not start, or did not end, in the time allowed."""


class JobLostError(GeminiBatchError):
    """The state of the batch job could not be read for a long time; it may still be running and billing."""


class RowsFailedError(GeminiBatchError):
    """The batch job ended, but too many of its rows have no answer."""

    retryable = False


class CanaryNotPassedError(GeminiBatchError):
    """The answers of a canary do not meet the thresholds; no other row was asked the new question."""

    retryable = False


class OutputNotReadyError(GeminiBatchError):
    """The output will never become ready."""

    retryable = False


class RowsUnreadableError(GeminiBatchError):
    """The requests or answers of a job could not be read, so its outcomes and tokens are not known."""


class LedgerError(GeminiBatchError):
    """A ledger of runs could not be read or written, so it is not known what was spent."""
