"""Tables in BigQuery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Table

_CALL_TIMEOUT = 60.0
# For what a preflight asks: see gcp.objects.
_SHORT_TIMEOUT = 30.0
_RETRY_FOR = 30.0

FILTER_HINT = "Give a query (SELECT …) with WHERE on the partition's column"
CHANGE_ROWS = "bigquery.tables.updateData"


class Tables:
    """Tables that hold requests or answers.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def versions(self, sources: Sequence[BigQueryAddress]) -> list[str]:
        """Return ``bq://project.dataset.table#etag`` for each source.

        The etag changes with the table's rows and with its description.
        Raises :class:`~airflow_gemini_batch.exceptions.SourceNotReadyError` for a table that does not exist or
        holds no rows.
        """
        found = []
        for source in sources:
            table = self.find(source)
            if table is None:
                raise SourceNotReadyError(f"source {source}: there is no such table")
            if table.table_type in ("VIEW", "MATERIALIZED_VIEW"):
                raise InvalidRequestError(
                    f"source {source} is a view, and a job reads tables only. Write its rows to a table first"
                )
            check_readable_whole(table, f"source {source}", "Write the requests to a table without it")
            if table.num_rows == 0 and table.table_type == "TABLE" and not table.streaming_buffer:
                raise SourceNotReadyError(f"source {source}: the table is empty")
            found.append(f"{source}#{table.etag}")
        return found

    def check_destination(self, address: BigQueryAddress) -> None:
        """Raise :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` unless a job could write there."""
        from google.api_core.exceptions import NotFound

        try:
            self._client.get_dataset(f"{address.project}.{address.dataset}", timeout=_CALL_TIMEOUT)
        except NotFound:
            raise InvalidRequestError(
                f"destination {address}: the dataset {address.project}.{address.dataset} does not exist. "
                "Create it in the location of the job"
            ) from None
        if self.find(address) is not None:
            raise InvalidRequestError(
                f"destination {address}: the table already exists, and a job writes only to a new one. "
                "Name another table (with {{ ts_nodash }}, say) or just the dataset, or drop the table first"
            )

    def find(self, address: BigQueryAddress) -> Table | None:
        """Return the table; None if there is none, or if the address names a dataset."""
        from google.api_core.exceptions import NotFound

        if not address.is_table:
            return None
        try:
            return self._client.get_table(address.dotted, timeout=_CALL_TIMEOUT)
        except NotFound:
            return None

    def dataset_location(self, address: BigQueryAddress) -> str | None:
        """Return where a dataset lies; None if it does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            dataset = self._client.get_dataset(
                f"{address.project}.{address.dataset}", timeout=_SHORT_TIMEOUT, retry=_retry()
            )
        except NotFound:
            return None
        return str(dataset.location)

    def may_write(self, table: BigQueryAddress) -> bool | None:
        """Return whether the client may change the rows of a table; None if it does not exist."""
        from google.api_core.exceptions import NotFound

        try:
            answer = self._client.test_iam_permissions(
                table.dotted, [CHANGE_ROWS], timeout=_SHORT_TIMEOUT, retry=_retry()
            )
        except NotFound:
            return None
        return CHANGE_ROWS in answer.get("permissions", ())

    def first_rows(self, table: Table, columns: Sequence[str], limit: int) -> Iterator[Mapping[str, Any]]:
        """Yield some rows of a table, whichever come first; nothing is billed for them.

        :param columns: the columns to read, of those that the table has; a row spells them as they are here.
        """
        names = {column.lower() for column in columns}
        wanted = [field for field in table.schema if field.name.lower() in names]
        for row in self._client.list_rows(
            table,
            selected_fields=wanted,
            max_results=limit,
            timeout=_SHORT_TIMEOUT,
            retry=_retry(),
        ):
            values = {name.lower(): value for name, value in row.items()}
            yield {column: values[column.lower()] for column in columns if column.lower() in values}


def _retry() -> Any:
    from google.cloud.bigquery import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_RETRY_FOR)


def check_readable_whole(table: Table, where: str, hint: str) -> None:
    """Raise :class:`.InvalidRequestError` for a table that takes no query without a filter.

    :param where: names the table, for the message.
    :param hint: what to do instead.
    """
    if table.require_partition_filter:
        raise InvalidRequestError(
            f"{where}: it has require_partition_filter, so BigQuery refuses to read all its rows. {hint}"
        )


def without_filter(address: BigQueryAddress) -> str:
    """Return what to do about a target that takes no query without a filter: any row of it may be meant."""
    return (
        f"Turn that off (ALTER TABLE {address.sql} SET OPTIONS (require_partition_filter = FALSE)), or name another "
        "table"
    )


def columns_of(table: Table) -> list[tuple[str, str]]:
    """Return name and type of each column; a repeated one is an ``ARRAY``."""
    return [(field.name, "ARRAY" if field.mode == "REPEATED" else field.field_type) for field in table.schema]
