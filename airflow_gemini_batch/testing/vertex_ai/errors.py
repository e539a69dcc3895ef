"""What the service says when it refuses: Google's error envelope, and the error of a job or a row."""

from __future__ import annotations

from typing import Any

# google.rpc.Code → (number inside google.rpc.Status, HTTP status); https://cloud.google.com/apis/design/errors
CODES: dict[str, tuple[int, int]] = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "UNAUTHENTICATED": (16, 401),
}


class StatusError(Exception):
    """A refusal with a name from google.rpc.Code and a message.

    :param status: a key of :data:`CODES`, such as ``INVALID_ARGUMENT``.
    :param message: what the service says.
    :param details: extra objects for the ``details`` list, each with an ``@type``.
    """

    def __init__(self, status: str, message: str, *, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.details = details or []

    @property
    def http_status(self) -> int:
        """The HTTP status the service answers with."""
        return CODES[self.status][1]

    @property
    def envelope(self) -> dict[str, Any]:
        """``{"error": {"code", "message", "status"}}``, the body of a refused call or row."""
        error: dict[str, Any] = {"code": self.http_status, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}

    @property
    def rpc_status(self) -> dict[str, Any]:
        """``{"code", "message"}`` with the number of google.rpc.Code, as a job's ``error`` carries it."""
        rpc: dict[str, Any] = {"code": CODES[self.status][0], "message": self.message}
        if self.details:
            rpc["details"] = self.details
        return rpc


class CallError(StatusError):
    """A call to the API is refused; nothing has happened."""


class JobError(StatusError):
    """A job that was accepted fails."""


class RowError(StatusError):
    """One row of a job fails; the others go on."""


def import_error(message: str, *, status: str = "INVALID_ARGUMENT") -> JobError:
    """Make the error of a job whose input can't be imported."""
    return JobError(status, f"Failed to import data. {message}")
