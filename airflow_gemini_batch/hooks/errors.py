"""Errors on their way to Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Let errors that another try can't mend skip the task's remaining retries."""
    try:
        yield
    except GeminiBatchError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


@contextmanager
def as_invalid_request() -> Iterator[None]:
    """Let what the rules refuse of the user's parameters, a :class:`ValueError`, be the error for that.

    For the parameters only: what the user's own code raises keeps its type, its trace and its retries.
    """
    try:
        yield
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
