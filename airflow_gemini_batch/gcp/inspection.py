"""What a preflight asks of both storages, besides what the rooms themselves say."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.gcp.lines import raw_lines
from airflow_gemini_batch.gcp.objects import StorageObjects

if TYPE_CHECKING:
    from google.cloud import bigquery, storage

CREATE_OBJECTS = "storage.objects.create"
CHANGE_ROWS = "bigquery.tables.updateData"

# In seconds: what can't be asked is a warning, which should not take the ten minutes of the libraries' own retries.
_CALL_TIMEOUT = 30.0
_RETRY_FOR = 30.0
_CHUNK = 2**20


class FileInspection:
    """Buckets and request files.

    :param client: of ``google-cloud-storage``.
    """

    def __init__(self, client: storage.Client) -> None:
        self._client = client

    def bucket_location(self, bucket: str) -> str | None:
        """Return where a bucket lies, ``None`` for one that does not exist.

        Needs the permission ``storage.buckets.get``, which reading and writing objects does not: without it the
        library's ``Forbidden`` is raised.
        """
        from google.api_core.exceptions import NotFound

        try:
            found = self._client.get_bucket(bucket, timeout=_CALL_TIMEOUT, retry=_files_retry())
            return str(found.location)
        except NotFound:
            return None

    def may_write(self, bucket: str) -> bool | None:
        """Return whether the client may create objects in a bucket, ``None`` for one that does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            granted = self._client.bucket(bucket).test_iam_permissions(
                [CREATE_OBJECTS], timeout=_CALL_TIMEOUT, retry=_files_retry()
            )
        except NotFound:
            return None
        return CREATE_OBJECTS in granted

    def objects(self, sources: Sequence[GcsAddress]) -> list[storage.Blob]:
        """Return the objects that the sources name.

        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` when a source names none.
        """
        return list(StorageObjects(self._client).objects(sources))

    def lines(self, blob: storage.Blob, longest: int) -> Iterator[bytes]:
        """Yield an object's lines as they are, and load no more of it than is asked for.

        :param longest: most bytes of a line; see :func:`airflow_gemini_batch.gcp.lines.raw_lines`.
        """
        # The library's own stream reads a line byte by byte.
        with blob.open(
            "rb", chunk_size=_CHUNK, if_generation_match=blob.generation, retry=_files_retry()
        ) as stream:
            yield from raw_lines(io.BufferedReader(stream, _CHUNK), longest)


class TableInspection:
    """Datasets and request tables.

    :param client: of ``google-cloud-bigquery``.
    """

    def __init__(self, client: bigquery.Client) -> None:
        self._client = client

    def dataset_location(self, address: BigQueryAddress) -> str | None:
        """Return where a dataset lies, ``None`` for one that does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            dataset = self._client.get_dataset(
                f"{address.project}.{address.dataset}", timeout=_CALL_TIMEOUT, retry=_tables_retry()
            )
        except NotFound:
            return None
        return str(dataset.location)

    def may_write(self, table: BigQueryAddress) -> bool | None:
        """Return whether the client may change the rows of a table, ``None`` for one that does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            answer = self._client.test_iam_permissions(
                table.dotted, [CHANGE_ROWS], timeout=_CALL_TIMEOUT, retry=_tables_retry()
            )
        except NotFound:
            return None
        return CHANGE_ROWS in answer.get("permissions", ())

    def first_rows(
        self, table: bigquery.Table, columns: Sequence[str], limit: int
    ) -> Iterator[Mapping[str, Any]]:
        """Yield some rows of a table, whichever come first; nothing is billed for them.

        :param columns: the columns to read, of those that the table has.
        """
        wanted = [field for field in table.schema if field.name in columns]
        for row in self._client.list_rows(
            table,
            selected_fields=wanted,
            max_results=limit,
            timeout=_CALL_TIMEOUT,
            retry=_tables_retry(),
        ):
            yield dict(row.items())


def _files_retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_FOR)


def _tables_retry() -> Any:
    from google.cloud.bigquery import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_FOR)


def columns_of(table: bigquery.Table) -> list[tuple[str, str]]:
    """Return name and type of each column; a repeated one is an ``ARRAY``."""
    return [(field.name, "ARRAY" if field.mode == "REPEATED" else field.field_type) for field in table.schema]
