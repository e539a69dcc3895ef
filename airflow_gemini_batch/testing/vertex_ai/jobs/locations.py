"""Check a job's buckets and datasets when it is created. Blocking; runs in a worker thread.

The service reports some errors at once and others when the job imports its data. At once: a bucket or a destination
dataset in another location, a destination dataset that does not exist, a destination table that exists. Later, as the
job's error: a bucket that does not exist, and everything about the objects and tables to read.
"""

from __future__ import annotations

from typing import Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.testing.vertex_ai.data.clients import DataClients
from airflow_gemini_batch.testing.vertex_ai.errors import CallError, JobError
from airflow_gemini_batch.testing.vertex_ai.jobs.job import NEW_DATASET, JobRequest

_ANYWHERE = "global"


def check_locations(request: JobRequest, clients: DataClients) -> None:
    """Refuse a job that cannot read its input or write its output.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.CallError`.
    """
    if not isinstance(request.sources, BigQueryAddress):
        for address in _one_of_each_bucket(request.sources):
            _check_bucket(address, request.location, clients)
    if isinstance(request.destination, GcsAddress):
        _check_bucket(request.destination, request.location, clients)
    elif request.destination.dataset != NEW_DATASET:
        _check_dataset(request.destination, request.location, clients)


def check_buckets(request: JobRequest, clients: DataClients) -> None:
    """Fail a job whose buckets do not exist.

    Raises :class:`~airflow_gemini_batch.testing.vertex_ai.errors.JobError`.
    """
    sources = () if isinstance(request.sources, BigQueryAddress) else request.sources
    for place in (*sources, request.destination):
        if isinstance(place, GcsAddress) and clients.storage.lookup_bucket(place.bucket, retry=None) is None:
            raise JobError(
                "FAILED_PRECONDITION",
                f"Failed to get GCS bucket location for {place.bucket}. Please check that the bucket exists and "
                "permissions are set correctly.",
            )


def _one_of_each_bucket(addresses: tuple[GcsAddress, ...]) -> list[GcsAddress]:
    return list({address.bucket: address for address in addresses}.values())


def _check_bucket(address: GcsAddress, location: str, clients: DataClients) -> None:
    bucket: Any = clients.storage.lookup_bucket(address.bucket, retry=None)
    if bucket is None:
        return
    actual = (bucket.location or "").lower()
    if location not in (_ANYWHERE, actual):
        raise CallError(
            "FAILED_PRECONDITION",
            f"The Cloud Storage bucket of `{address}` is in location `{actual}`. "
            f"It must be in the same regional location as the service location `{location}`.",
        )


def _check_dataset(address: BigQueryAddress, location: str, clients: DataClients) -> None:
    from google.api_core.exceptions import NotFound

    name = f"{address.project}:{address.dataset}"
    try:
        dataset = clients.bigquery.get_dataset(f"{address.project}.{address.dataset}", retry=None)
    except NotFound as error:
        raise CallError("NOT_FOUND", f"Not found: Dataset {name} was not found.") from error
    actual = (dataset.location or "").lower()
    if location not in (_ANYWHERE, actual):
        raise CallError(
            "FAILED_PRECONDITION",
            f"The BigQuery dataset {name} is in location `{actual}`. "
            f"It must be in the same location as the service location `{location}`.",
        )
    if address.is_table:
        _check_absent(address, clients)


def _check_absent(address: BigQueryAddress, clients: DataClients) -> None:
    from google.api_core.exceptions import NotFound

    try:
        clients.bigquery.get_table(address.dotted, retry=None)
    except NotFound:
        return
    raise CallError("INVALID_ARGUMENT", f"The BigQuery output table {address} already exists.")
