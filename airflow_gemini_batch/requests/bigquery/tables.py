"""Request tables out of BigQuery rows: the rows stay there, two statements do the work."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.requests.bigquery.build_sql import build_statement
from airflow_gemini_batch.requests.bigquery.preview import (
    CALL_TIMEOUT,
    BigQueryBuild,
    BuildPreview,
    run_statement,
)
from airflow_gemini_batch.requests.spec import BuildReport

if TYPE_CHECKING:
    from google.cloud.bigquery import Table

_LEAST_LIFE = timedelta(days=5)
"""A job may wait for four days before it reads its source; a table that ends sooner is written anew."""


class TableBuild(BigQueryBuild[BigQueryAddress]):
    """Builds request tables in a dataset."""

    def write(self, preview: BuildPreview, destination: BigQueryAddress) -> BuildReport:
        """Write the requests, unless they are there already, and return the report.

        The names of the tables tell their content. Tables with the same requests are kept as they are, so that a run
        that is repeated submits the same source. They end by themselves after
        :data:`~airflow_gemini_batch.requests.bigquery.build_sql.DAYS_KEPT` days.
        """
        names = [f"requests_{preview.digest}"]
        if (shards := preview.shards) != 1:
            names = [f"{names[0]}_{shard + 1}_of_{shards}" for shard in range(shards)]
        addresses = [destination.with_table(name) for name in names]
        written = [self._write(preview, shard, address) for shard, address in enumerate(addresses)]
        try:
            preview.check_written(sum(table.num_rows for table in written))
        except SourceNotReadyError:
            for address in addresses:
                self._client.delete_table(address.dotted, not_found_ok=True, timeout=CALL_TIMEOUT)
            raise
        # Chance may leave a table empty, and a job refuses an empty source.
        filled = [address for address, table in zip(addresses, written, strict=True) if table.num_rows]
        return replace(preview.report, sources=tuple(map(str, filled)))

    def _write(self, preview: BuildPreview, shard: int, address: BigQueryAddress) -> Table:
        tables = Tables(self._client)
        existing = tables.find(address)
        if existing is not None and _lives_on(existing):
            self._log.info("%s holds these requests already", address)
            return existing
        statement = build_statement(
            preview.request_rows, address, shard=shard, shards=preview.shards, replace=existing is not None
        )
        run_statement(self._client, statement, preview.location, preview.where)
        written = tables.find(address)
        if written is None:
            raise SourceNotReadyError(f"{address} was deleted as soon as it was written: build it again")
        self._log.info("wrote %s requests to %s", written.num_rows, address)
        return written

    def _location(self, destination: BigQueryAddress) -> str:
        from google.api_core.exceptions import NotFound

        try:
            return str(self._client.get_dataset(destination.dotted, timeout=CALL_TIMEOUT).location)
        except NotFound:
            raise InvalidRequestError(
                f"{destination}: there is no such dataset for the request tables; create it in the location of the job"
            ) from None


def _lives_on(table: Table) -> bool:
    expires = table.expires
    return expires is None or expires - datetime.now(UTC) >= _LEAST_LIFE
