"""Requests and answers, wherever they lie: the kind of an address picks one of two stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.files import CloudStorage
from airflow_gemini_batch.outputs.summary import OutputSummary
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from airflow_gemini_batch.outputs.usage import UsageByModel

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


class OutputStore(Protocol):
    """One kind of storage; each method takes addresses of this kind only."""

    def versions(self, requests: Sequence[Any]) -> list[str]:
        """Return one text for each file or table of the requests, naming it and its version.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for one that does not exist.
        """

    def count_requests(self, requests: Sequence[Any]) -> int:
        """Return the number of requests."""

    def check_destination(self, address: Any) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless a job could write there."""

    def tally(self, output: Any) -> Tally | None:
        """Sort the rows of a job's output; returns None if there is none."""

    def summarize(self, output: Any, requests: Sequence[Any]) -> OutputSummary | None:
        """Sort the rows of a job's output by its requests, so that the outcomes add up to them.

        Returns None if there is no output. Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when
        the requests are gone.
        """

    def usage(self, output: Any) -> UsageByModel:
        """Add up the tokens of a job's output, answered or not; returns nothing if there is none."""


class DataStore:
    """Both stores, each with a client of its own.

    :param storage_client: makes the client of ``google-cloud-storage``, when the first file is asked for.
    :param bigquery_client: makes the client of ``google-cloud-bigquery``, when the first table is asked for.
    """

    def __init__(
        self,
        storage_client: Callable[[], storage.Client],
        bigquery_client: Callable[[], bigquery.Client],
    ) -> None:
        self.storage_client = storage_client
        self.bigquery_client = bigquery_client

    @cached_property
    def files(self) -> CloudStorage:
        """The files on Cloud Storage."""
        return CloudStorage(self.storage_client())

    @cached_property
    def tables(self) -> BigQueryStorage:
        """The tables in BigQuery."""
        return BigQueryStorage(self.bigquery_client())

    def of(self, address: Address) -> OutputStore:
        """Return the store that an address lies in."""
        return self.tables if isinstance(address, BigQueryAddress) else self.files

    def summarize(self, output: Address, requests: Sequence[Address]) -> OutputSummary | None:
        """Sort the rows of a job's output by its requests: see :meth:`OutputStore.summarize`.

        If one lies in files and the other in a table, the rows are counted only.
        """
        # One job reads tables or files, never both: jobs.submission.parse_requests refuses that.
        answers, asked = self.of(output), self.of(requests[0])
        if answers is asked:
            return answers.summarize(output, requests)
        tally = answers.tally(output)
        if tally is None:
            return None
        tally.complete(asked.count_requests(requests))
        return OutputSummary(tally, count_usage=partial(answers.usage, output))
