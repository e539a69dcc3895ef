"""Both storages behind one door: which one is meant, an address says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.gcp.inspection import FileInspection, TableInspection
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.files import CloudStorage
from airflow_gemini_batch.outputs.summary import OutputSummary
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from airflow_gemini_batch.outputs.usage import UsageByModel

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


class DataStore:
    """Requests and answers, wherever they lie.

    :param storage_client: makes the client of ``google-cloud-storage``, when the first file is asked for.
    :param bigquery_client: makes the client of ``google-cloud-bigquery``, when the first table is asked for.
    """

    def __init__(
        self,
        storage_client: Callable[[], storage.Client],
        bigquery_client: Callable[[], bigquery.Client],
    ) -> None:
        self._storage_client = storage_client
        self._bigquery_client = bigquery_client

    @cached_property
    def files(self) -> CloudStorage:
        """The files on Cloud Storage."""
        return CloudStorage(self._storage_client())

    @cached_property
    def tables(self) -> BigQueryStorage:
        """The tables in BigQuery."""
        return BigQueryStorage(self._bigquery_client())

    @cached_property
    def file_inspection(self) -> FileInspection:
        """What a preflight asks about files."""
        return FileInspection(self._storage_client())

    @cached_property
    def table_inspection(self) -> TableInspection:
        """What a preflight asks about tables."""
        return TableInspection(self._bigquery_client())

    def versions(self, sources: Sequence[Address]) -> list[str]:
        """Return one text for each file or table of the sources, naming it and its version.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a source that does not exist.
        """
        if _are_tables(sources):
            return self.tables.versions(cast("Sequence[BigQueryAddress]", sources))
        return self.files.versions(cast("Sequence[GcsAddress]", sources))

    def count_requests(self, sources: Sequence[Address]) -> int:
        """Return the number of requests in the sources."""
        if _are_tables(sources):
            return self.tables.count_requests(cast("Sequence[BigQueryAddress]", sources))
        return self.files.count_requests(cast("Sequence[GcsAddress]", sources))

    def check_destination(self, address: Address) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless a job could write there."""
        if isinstance(address, BigQueryAddress):
            self.tables.check_destination(address)
        else:
            self.files.check_destination(address)

    def tally(self, output: Address) -> Tally | None:
        """Sort the rows of a job's output; ``None`` when there is none."""
        if isinstance(output, BigQueryAddress):
            return self.tables.tally(output) if output.is_table else None
        return self.files.tally(output)

    def summarize(self, output: Address, sources: Sequence[Address]) -> OutputSummary | None:
        """Sort the rows of a job's output by its requests, so that the outcomes add up to them.

        ``None`` when there is no output. Where output and requests are of two kinds, rows are counted only.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when a source is gone.
        """
        if isinstance(output, GcsAddress) and not _are_tables(sources):
            return self.files.summarize(output, cast("Sequence[GcsAddress]", sources))
        if isinstance(output, BigQueryAddress) and output.is_table and _are_tables(sources):
            return self.tables.summarize(output, cast("BigQueryAddress", sources[0]))
        tally = self.tally(output)
        if tally is None:
            return None
        tally.complete(self.count_requests(sources))
        return OutputSummary(tally, count_usage=partial(self.usage, output))

    def usage(self, output: Address) -> UsageByModel:
        """Add up the tokens of a job's output, whatever became of its rows; none when there is none."""
        if isinstance(output, BigQueryAddress):
            return self.tables.usage(output) if output.is_table else {}
        return self.files.usage(output)


def _are_tables(sources: Sequence[Address]) -> bool:
    # One job reads tables or files, never both: jobs.submission.parse_requests sees to it.
    return isinstance(sources[0], BigQueryAddress)
