"""How errors of this package become errors of Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.exceptions import GeminiBatchError


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Let an error that another try cannot fix skip the task's remaining retries."""
    try:
        yield
    except GeminiBatchError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
