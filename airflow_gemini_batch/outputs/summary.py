"""The summary of a job's output, and what its follow-up needs."""

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
    """Outcomes and tokens of one job, read from its output.

    :param tally: the outcomes; they add up to the requests.
    :param write_follow_up: writes the requests that are worth another job to an address of the kind that they came
        from, and replaces what is there; None if rows cannot be matched with requests.
    :param count_usage: counts the tokens of all rows by model version, answered or not: all are billed.
    """

    tally: Tally
    write_follow_up: Callable[[Any], None] | None = None
    count_usage: Callable[[], UsageByModel] = dict


# A job waits and runs for four days at most; the rest is for retries of the task.
KEPT_FOR_DAYS = 7


@contextmanager
def hint_when_forbidden(address: Address) -> Iterator[None]:
    """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` if the block may not write to an address."""
    from google.api_core.exceptions import Forbidden

    try:
        yield
    except Forbidden as error:
        raise InvalidRequestError(
            f"The requests of a follow-up job cannot be written to {address}: {error.message}\n"
            "Grant the account of the connection write access, or set max_row_retries=0, and clear the task. "
            "Answered rows are kept, and the task continues from them."
        ) from error
