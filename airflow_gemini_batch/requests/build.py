"""Rows → requests: which way the rows take, and where their requests go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import as_invalid_request
from airflow_gemini_batch.requests.bigquery.builder import ExportBuild, TableBuild
from airflow_gemini_batch.requests.done import Mark, Place, read_done_files, read_done_table
from airflow_gemini_batch.requests.failed import read_failed
from airflow_gemini_batch.requests.files.builder import build_files
from airflow_gemini_batch.requests.files.rows import python_rows, read_rows
from airflow_gemini_batch.requests.sources import (
    FileRows,
    Path,
    PythonRows,
    QueryRows,
    TableRows,
    row_source,
)
from airflow_gemini_batch.requests.spec import BuildPlan, BuildReport

if TYPE_CHECKING:
    from google.cloud import bigquery, storage


class OtherRuns(Protocol):
    """What other runs ask at this moment, for the same target."""

    def tables(self, dataset: BigQueryAddress) -> Sequence[BigQueryAddress]:
        """Return their request tables in a dataset."""

    def rows(self, folder: GcsAddress) -> Iterator[tuple[str, str]]:
        """Yield key, as text, and fingerprint of each of their requests in the files of a folder."""


def build_requests(
    plan: BuildPlan,
    source: Path | Sequence[Path] | PythonRows | Callable[[], PythonRows],
    requests: str | None = None,
    *,
    source_parameters: Mapping[str, Any] | None = None,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
    others: OtherRuns | None = None,
) -> BuildReport:
    """Write the requests of all rows that need an answer, and report where they are.

    SQL makes them where the rows are in BigQuery; rows of files or of Python come as a stream.

    :param source: what :func:`~airflow_gemini_batch.requests.sources.row_source` reads.
    :param requests: dataset or folder for the requests; by default beside the target or the source.
    :param source_parameters: values of a source query, by the names that stand in it as ``@name``.
    :param storage_client: makes the client of ``google-cloud-storage``, when the first object is needed.
    :param bigquery_client: makes the client of ``google-cloud-bigquery``, when the first table is needed; the client's
        project pays for the statements.
    :param others: what other runs ask at this moment for the same target. It cannot be compared with requests that
        BigQuery exports to files.

    Raises :class:`.InvalidRequestError` for addresses, columns or rows that can't become requests, and
    :class:`.SourceNotReadyError` for a source that does not exist.
    """
    rows = row_source(source, source_parameters)
    if isinstance(rows, (TableRows, QueryRows)) and plan.family.takes_tables:
        dataset = request_dataset(requests, plan.target, rows)
        under_way = others.tables(dataset) if others and plan.done_target else ()
        return TableBuild(bigquery_client(), log, under_way).run(plan, rows, dataset)
    folder = request_folder(requests, plan.target)
    if isinstance(rows, (TableRows, QueryRows)):
        return ExportBuild(bigquery_client(), storage_client(), log).run(plan, rows, folder)
    client = storage_client()
    if isinstance(rows, FileRows):
        stream = read_rows(rows, plan.read_columns, client)
    else:
        stream = python_rows(rows() if callable(rows) else rows)
    known = _known(plan, folder, others, lambda: client, bigquery_client, log)
    return build_files(plan, stream, folder, client, log, known=known)


def _known(
    plan: BuildPlan,
    folder: GcsAddress,
    others: OtherRuns | None,
    storage_client: Callable[[], storage.Client],
    bigquery_client: Callable[[], bigquery.Client],
    log: Log,
) -> Iterator[Mark]:
    """Yield the requests that are known: answered, asked at this moment, or failed."""
    if plan.done_target is None:
        return
    for target, place in (
        (plan.done_target, Place.TARGET),
        *((one, Place.CANARY) for one in plan.canary_targets),
    ):
        if target.startswith("bq://"):
            with as_invalid_request():
                table = BigQueryAddress.parse(target)
            yield from read_done_table(bigquery_client(), table, plan.key, place)
        else:
            yield from read_done_files(target, plan.key, storage_client(), place)
    if others:
        yield from (Mark(key, fingerprint) for key, fingerprint in others.rows(folder))
    yield from read_failed(plan, storage_client, bigquery_client, log)


@as_invalid_request()
def request_dataset(
    requests: str | None, target: str | None, source: TableRows | QueryRows
) -> BigQueryAddress:
    """Return the dataset for request tables: the one given, or that of the target, or of the source.

    Raises :class:`.InvalidRequestError` when none of them is in BigQuery.
    """
    if requests:
        address = parse_address(requests)
        if not isinstance(address, BigQueryAddress) or address.is_table:
            raise ValueError(
                f"requests {requests} has to be a dataset, bq://PROJECT.DATASET, since the rows are in BigQuery"
            )
        return address
    if target and isinstance(address := parse_address(target), BigQueryAddress):
        return address.with_table("")
    if isinstance(source, TableRows):
        return source.address.with_table("")
    raise ValueError("requests is missing: name a dataset for the request tables, bq://PROJECT.DATASET")


@as_invalid_request()
def request_folder(requests: str | None, target: str | None) -> GcsAddress:
    """Return the folder for request files: the one given, or ``requests`` beside the target file.

    Raises :class:`.InvalidRequestError` when neither is on Cloud Storage.
    """
    if requests:
        address = parse_address(requests)
        if not isinstance(address, GcsAddress) or address.has_wildcard:
            raise ValueError(
                f"requests {requests} has to be a folder on Cloud Storage, gs://BUCKET/FOLDER: requests go to a "
                "dataset only if the rows are in BigQuery and the model reads tables"
            )
        return address
    if target and target.startswith("gs://"):
        address = GcsAddress.parse(target)
        return GcsAddress(address.bucket, address.folder).child("requests")
    raise ValueError("requests is missing: name a folder for the request files, gs://BUCKET/FOLDER")
