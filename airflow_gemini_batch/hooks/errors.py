"""How errors of this package become errors of Airflow."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.exceptions import GeminiBatchError


class fail_without_retry(AbstractContextManager[None]):  # noqa: N801 - reads as a statement
    """Let an error that another try cannot fix skip the task's remaining retries.

    An error of this package says what its causes say. So Airflow shows its text once, with one stack; the causes are in
    ``__context__``.
    """

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> Literal[False]:
        if isinstance(error, GeminiBatchError):
            error.__context__ = error.__cause__ or error.__context__
            error.__cause__, error.__suppress_context__ = None, True
            if not error.retryable:
                raise AirflowFailException(str(error)) from None
        return False
