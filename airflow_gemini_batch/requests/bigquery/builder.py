"""Requests out of sorted BigQuery rows: tables, or files for models that read files only.

Of an export, one folder belongs to one set of requests. Each try exports into a folder of its own below it, and names
its files in a record that is written last, and by one try only. So an export that died half-way is never read, and the
same requests are the same objects. What such an export left behind is for the bucket's lifecycle rules.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.defaults import LONGEST_ROW
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.shown import listed
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.queries import CALL_TIMEOUT
from airflow_gemini_batch.gcp.statements import script
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.requests.bigquery.build_sql import RequestRows, sorting_statements
from airflow_gemini_batch.requests.bigquery.preview import BigQueryBuild, BuildPreview
from airflow_gemini_batch.requests.bigquery.write_sql import build_statement, export_statement
from airflow_gemini_batch.requests.spec import BuildReport

if TYPE_CHECKING:
    from google.cloud import bigquery, storage
    from google.cloud.bigquery.table import RowIterator

_LEAST_LIFE = timedelta(days=5)
"""A job may wait for four days before it reads its source; a table that ends sooner is replaced."""

RECORD = "requests.json"
"""Name of the object that names the files of an export: a list of addresses for each job."""

JobFiles = list[list[str]]


class TableBuild(BigQueryBuild[BigQueryAddress]):
    """Builds request tables in a dataset."""

    def _write(self, preview: BuildPreview, destination: BigQueryAddress) -> BuildReport:
        """Write the requests, unless they are there already, and return the report.

        The names of the tables tell their content. Tables with the same requests are kept as they are, so that a run
        that is repeated submits the same source. They end by themselves after
        :data:`~airflow_gemini_batch.requests.bigquery.write_sql.DAYS_KEPT` days.
        """
        name, jobs = f"requests_{preview.digest}", preview.sharding.count
        names = [name] if jobs == 1 else [f"{name}_{number}_of_{jobs}" for number in range(1, jobs + 1)]
        addresses = [destination.with_table(name) for name in names]
        tables, soon = Tables(self._client), datetime.now(UTC) + _LEAST_LIFE
        existing = {address: table for address in addresses if (table := tables.find(address))}
        kept = {
            address for address, table in existing.items() if table.expires is None or table.expires >= soon
        }
        for address in kept:
            self._log.info("%s holds these requests already", address)
        if missing := {shard: address for shard, address in enumerate(addresses) if address not in kept}:
            statement = build_statement(preview.request_rows, missing, preview.sharding, replace=existing)
            self._run(statement, preview.location, preview.where)
            self._log.info("wrote requests to %s", listed(map(str, missing.values())))
        return replace(preview.report, sources=tuple(map(str, addresses)))

    @contextmanager
    def _sorted(
        self, request_rows: RequestRows, destination: BigQueryAddress, location: str | None, where: str
    ) -> Iterator[tuple[str, RowIterator]]:
        """Sort the rows into a table beside the requests, which is dropped afterwards."""
        from google.api_core.exceptions import GoogleAPICallError

        table = destination.with_table(f"sorted_{uuid.uuid4().hex[:12]}")
        try:
            states = self._run(script(*sorting_statements(request_rows, table.sql)), location, where)
            yield table.sql, states
        finally:
            try:
                self._client.delete_table(table.dotted, not_found_ok=True, timeout=CALL_TIMEOUT)
            except GoogleAPICallError as error:
                self._log.warning("%s could not be dropped and expires in a day: %s", table, error)

    def _location(self, destination: BigQueryAddress) -> str:
        from google.api_core.exceptions import NotFound

        try:
            return str(self._client.get_dataset(destination.dotted, timeout=CALL_TIMEOUT).location)
        except NotFound:
            raise InvalidRequestError(
                f"{destination}: there is no such dataset for the request tables; create it in the location of the job"
            ) from None


class ExportBuild(BigQueryBuild[GcsAddress]):
    """Builds request files below a folder by ``EXPORT DATA``.

    :param storage_client: of ``google-cloud-storage``.
    """

    def __init__(self, client: bigquery.Client, storage_client: storage.Client, log: Log) -> None:
        super().__init__(client, log)
        self._storage = storage_client

    def _location(self, destination: GcsAddress) -> None:
        StorageObjects(self._storage).check_destination(destination)

    @contextmanager
    def _sorted(
        self, request_rows: RequestRows, _: GcsAddress, location: str | None, where: str
    ) -> Iterator[tuple[str, RowIterator]]:
        """Sort the rows into a temporary table: an export need not have a dataset where it may make tables."""
        table = f"sorted_{uuid.uuid4().hex[:12]}"
        with self._queries.session():
            # One by one, since what a script has made may end with it.
            for statement in sorting_statements(request_rows, table, temporary=True):
                states = self._run(statement, location, where)
            yield table, states

    def _write(self, preview: BuildPreview, destination: GcsAddress) -> BuildReport:
        """Write the requests, unless they are there already, and return the report."""
        jobs: JobFiles = []
        if jobs_wanted := preview.sharding.count:
            home = destination.child(f"requests_{preview.digest}_for_{jobs_wanted}")
            jobs = self._recorded(home) or self._record(home, self._export(preview, home))
        sources = tuple(files[0] if len(files) == 1 else files for files in jobs)
        return replace(preview.report, sources=sources)

    def _export(self, preview: BuildPreview, folder: GcsAddress) -> JobFiles:
        """Write the files of all jobs and return them."""
        attempt = folder.child(uuid.uuid4().hex[:12])
        patterns = [attempt.child(f"{number}-*.jsonl") for number in range(1, preview.sharding.count + 1)]
        statement = export_statement(preview.request_rows, patterns, preview.sharding)
        self._run(statement, preview.location, preview.where)
        self._log.info("wrote %s requests to %s", preview.report.requests, attempt)
        return [[file for file, size in self._files(pattern).items() if size] for pattern in patterns]

    def _files(self, folder: GcsAddress) -> dict[str, int]:
        """Return the addresses and sizes of all objects below a folder, or before the ``*`` of a pattern."""
        blobs = self._storage.list_blobs(folder.bucket, prefix=folder.path.partition("*")[0])
        return {f"gs://{folder.bucket}/{blob.name}": blob.size for blob in blobs}

    def _recorded(self, folder: GcsAddress) -> JobFiles | None:
        """Return the files that an earlier try has written, ``None`` where none has, or one of them is gone."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        record = self._storage.bucket(folder.bucket).get_blob(folder.child(RECORD).path)
        if record is None:
            return None
        if record.size > LONGEST_ROW:
            raise InvalidRequestError(
                f"{folder.child(RECORD)} holds {record.size:,} bytes, so this package has not written it. Delete it"
            )
        jobs: JobFiles = orjson.loads(record.download_as_bytes())
        existing = self._files(folder)
        if not all(file in existing for files in jobs for file in files):
            self._log.info("Some files of %s are gone; exporting them again", folder)
            with suppress(NotFound, PreconditionFailed):
                record.delete(if_generation_match=record.generation)
            return None
        self._log.info("%s holds these requests already", folder)
        return jobs

    def _record(self, folder: GcsAddress, jobs: JobFiles) -> JobFiles:
        """Name the files for all later tries; returns those of another try that was faster."""
        from google.api_core.exceptions import PreconditionFailed

        record = self._storage.bucket(folder.bucket).blob(folder.child(RECORD).path)
        try:
            record.upload_from_string(
                orjson.dumps(jobs), content_type="application/json", if_generation_match=0
            )
        except PreconditionFailed:
            earlier = self._recorded(folder)
            if earlier is None:
                raise SourceNotReadyError(
                    f"{folder} was deleted as soon as it was written: build it again"
                ) from None
            return earlier
        return jobs
