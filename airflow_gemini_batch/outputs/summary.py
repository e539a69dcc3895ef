"""What became of the requests of one job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.usage import UsageByModel


@dataclass(frozen=True, slots=True)
class OutputSummary:
    """What became of the requests of one job, by its output.

    :param tally: the outcomes; they add up to the requests.
    :param write_follow_up: writes the requests that are worth another job to an address of the kind that they came
        from, and replaces what is there; None if rows cannot be matched with requests.
    :param count_usage: counts the tokens of all rows by model version, whatever became of them: all are billed.
    """

    tally: Tally
    write_follow_up: Callable[[Any], None] | None = None
    count_usage: Callable[[], UsageByModel] = dict


# How long a follow-up's table is kept: a job waits and runs for four days at the most, and a task has its retries.
KEPT_FOR_DAYS = 7


@contextmanager
def hint_when_forbidden(place: Address) -> Iterator[None]:
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
