"""How errors of this package become errors of Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import GeminiBatchError


@contextmanager
def fail_without_retry() -> Iterator[None]:
    """Let an error that another try cannot fix skip the task's remaining retries."""
    try:
        yield
    except GeminiBatchError as error:
        _hide_foreign_texts(error)
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


def _hide_foreign_texts(error: BaseException) -> None:
    """Cut off the causes of an error whose texts a log can't take as they are: the error says them itself."""
    while cause := error.__cause__ or error.__context__:
        text = str(cause)
        if shown(text, lines=True) != text:
            error.__cause__ = error.__context__ = None
            return
        error = cause
