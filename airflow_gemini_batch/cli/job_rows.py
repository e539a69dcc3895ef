"""What the answers of jobs say: outcomes of rows, tokens, cost. Reads Cloud Storage and BigQuery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airflow_gemini_batch.core.model_families import ModelFamily, family_of
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import InvalidRequestError, RowsUnreadableError, as_invalid_request
from airflow_gemini_batch.jobs.client import Connection
from airflow_gemini_batch.jobs.listed import ListedSubmission
from airflow_gemini_batch.jobs.rounds import EndedRound, Rounds
from airflow_gemini_batch.jobs.spending import Spending, spent_on
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.jobs.submission import Submission, parse_destination, parse_requests
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.summary import OutputSummary
from airflow_gemini_batch.vertex.resource import VertexJobName


@dataclass(slots=True)
class Warnings:
    """A log that keeps the warnings."""

    texts: list[str] = field(default_factory=list)

    def info(self, message: str, /, *args: Any) -> None:
        """Take a message that nobody needs."""

    def warning(self, message: str, /, *args: Any) -> None:
        """Keep a warning."""
        self.texts.append(message % args)

    error = warning


@dataclass(frozen=True, slots=True)
class SubmissionRows:
    """The rows of a submission that has ended.

    :param warnings: what could not be read or priced.
    """

    family: ModelFamily
    rounds: list[EndedRound]
    spending: Spending
    warnings: list[str]


def rows_of(connection: Connection, submission: ListedSubmission, prices: str | None) -> SubmissionRows:
    """Read the answers of all jobs of a submission.

    :param prices: file with prices that override the built-in ones.

    Raises :class:`~airflow_gemini_batch.exceptions.GeminiBatchError` for jobs that have not ended, and for rows that
    cannot be read.
    """
    first, last = submission.first, submission.last
    if last.state.stage.waits:
        raise InvalidRequestError(f"{last} has not ended. Its rows can be read afterwards")
    family = family_of(first.model)
    if family is None:
        raise InvalidRequestError(f"The form of the answers of the model {first.model} is not known")
    with as_invalid_request(f"{first}"):
        asked = Submission(
            model=first.model,
            requests=parse_requests(first.requests),
            destination=parse_destination(first.destination),
            name=first.display_name,
            labels={},
            model_parameters={},
            family=family,
        )
    log = Warnings()
    with _reading(str(first.name)):
        read = Rounds(asked, connection.store, lambda name: connection.get_conn(name).get(name), log).up_to(
            last
        )
        spending = spent_on(read, first.model, lambda: _prices(first, prices), log)
    return SubmissionRows(family, read, spending, log.texts)


def read_job(connection: Connection, job: BatchJob, prices: str | None) -> SubmissionRows:
    """Read the answers of one job that has ended, whatever it was asked: rows that are not in its output do not count.

    Raises what :func:`rows_of` raises.
    """
    family = family_of(job.model)
    if family is None:
        raise RowsUnreadableError(f"The form of the answers of the model {job.model} is not known")
    log = Warnings()
    with _reading(str(job.name)):
        tally = None
        if job.output:
            store = connection.store.of(job.output)
            tally = store.tally(job.output)
        if job.output and tally:
            summary = OutputSummary(tally, count_usage=partial(store.usage, job.output))
        else:
            summary = OutputSummary(Tally())
        ended = EndedRound(job, (), summary, has_output=tally is not None)
        spending = spent_on([ended], job.model, lambda: _prices(job, prices), log)
    return SubmissionRows(family, [ended], spending, log.texts)


def _prices(job: BatchJob, file: str | None) -> PriceTable:
    return PriceTable.load(file, location=VertexJobName.parse(str(job.name)).location)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, OSError) as error:  # what requests raises is an OSError
        raise RowsUnreadableError(f"Could not read the rows of {what}: {error}") from error
