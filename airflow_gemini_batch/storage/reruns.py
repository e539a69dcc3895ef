"""Writing the requests of a follow-up job: what files and tables have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.exceptions import InvalidRequestError

# How long a follow-up's table is kept: a job waits and runs for four days at the most, and a task has its retries.
KEPT_FOR_DAYS = 7


@contextmanager
def way_out_when_forbidden(place: Address) -> Iterator[None]:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when we may not write to ``place``."""
    from google.api_core.exceptions import Forbidden

    try:
        yield
    except Forbidden as error:
        raise InvalidRequestError(
            f"the requests that are worth another job can't be written to {place}: {error.message}\n"
            "Let the account of the connection write there, or set max_row_retries=0, and clear the task. The rows "
            "that are answered are kept: it goes on from there."
        ) from error
