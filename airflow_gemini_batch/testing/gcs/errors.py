"""The error of the local Cloud Storage server, in the words and the envelope of the real service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


class StorageError(Exception):
    """A request that Cloud Storage refuses.

    :param status: HTTP status code.
    :param reason: Google's short word for it, such as ``notFound``; clients branch on it.
    :param message: what a person reads.
    :param headers: further response headers, such as ``Content-Range`` of an unsatisfiable range.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = dict(headers or {})

    @classmethod
    def invalid(cls, message: str) -> Self:
        """400: the request itself is wrong; repeating it does not help."""
        return cls(400, "invalid", message)

    @classmethod
    def no_bucket(cls, bucket: str) -> Self:
        """404: buckets are never made on the fly, a misspelt one has to show."""
        return cls(404, "notFound", f"The specified bucket does not exist: {bucket}")

    @classmethod
    def no_object(cls, bucket: str, name: str) -> Self:
        """404 for a missing object or a generation that is no longer live."""
        return cls(404, "notFound", f"No such object: {bucket}/{name}")

    def envelope(self) -> dict[str, Any]:
        """``{"error": {"code", "message", "errors": [{"message", "domain", "reason"}]}}``."""
        detail = {"message": self.message, "domain": "global", "reason": self.reason}
        return {"error": {"code": self.status, "message": self.message, "errors": [detail]}}
