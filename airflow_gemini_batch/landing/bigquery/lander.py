"""Landing in BigQuery: statements sort the answers and merge them, no row passes through here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.embedding_lines_sql import (
    line_staging_statement,
    unreadable_statement,
)
from airflow_gemini_batch.landing.bigquery.embedding_sql import (
    embedding_staging_statement,
    other_length_statement,
    shortened_statement,
)
from airflow_gemini_batch.landing.bigquery.inputs import (
    LineTable,
    answer_lines,
    answer_tables,
    load_lines,
    request_lines,
    request_tables,
)
from airflow_gemini_batch.landing.bigquery.merge_sql import count_statement, merge_statement
from airflow_gemini_batch.landing.bigquery.staging_sql import (
    RequestTable,
    staging_statement,
    unfit_keys_statement,
)
from airflow_gemini_batch.landing.bigquery.targets import (
    check_columns,
    column_types,
    failed_columns,
    prepare_statement,
    staging_address,
    target_columns,
)
from airflow_gemini_batch.landing.files.vectors import other_length, say_shortened
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.embeddings import DIMENSIONS

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, Row

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 3600.0

# How BigQuery refuses the second of two statements that change one table at the same time.
_RIVALRY = ("aborted due to concurrent update", "Could not serialize access")
RIVAL_PAUSES = (5.0, 20.0)


# The statements that sort the answers of each family into a staging table: from tables, and from lines of files.
_FROM_TABLES = {GENERATE_CONTENT: staging_statement, TEXT_EMBEDDING: embedding_staging_statement}
FROM_LINES = {GEMINI_EMBEDDING: line_staging_statement}


class TableLanding:
    """Lands answers in tables.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    :param rival_pauses: pauses before each new attempt to change a table that another statement is changing, in
        seconds.
    """

    def __init__(self, client: Client, log: Log, *, rival_pauses: Sequence[float] = RIVAL_PAUSES) -> None:
        self._rival_pauses = rival_pauses
        self._client = client
        self._log = log
        self._storage = Tables(client)

    def land(
        self,
        plan: LandingPlan,
        manifests: Sequence[Manifest],
        target: BigQueryAddress,
        failed: BigQueryAddress,
    ) -> LandingReport:
        """Land the answers of jobs from tables to tables.

        Landing twice changes nothing, and answers older than those in the target leave them as they are. Answers and
        failures change in one transaction.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for keys that do not tell the requests
        apart and for tables that can't take the answers, before anything is written, and what
        :mod:`~airflow_gemini_batch.landing.bigquery.inputs` raises.
        """
        if not plan.family.takes_tables:
            raise InvalidRequestError(
                f"the requests are in tables, and jobs of the format {plan.family} read and write files only: give the "
                "model's request_format, or the manifest of its job"
            )
        requests = [one for manifest in manifests for one in request_tables(manifest, plan, self._storage)]
        answers = [one for manifest in manifests for one in answer_tables(manifest, plan, self._storage)]
        if not requests:
            return LandingReport(str(target), str(failed), Tally().counts)
        location = self._location(target)
        self._check_keys(plan, requests, location)
        preparations = self._preparations(plan, requests[0].columns, target, failed)
        staging = staging_address(target, *(part for one in manifests for part in _identity(one)))
        with self._dropped_afterwards(staging):
            self._run(_FROM_TABLES[plan.family](plan, staging, requests, answers), location)
            self._say_shortened(plan, staging, location)
            return self._merge(plan, staging, target, failed, preparations, location)

    def land_vector_files(
        self,
        plan: LandingPlan,
        manifests: Sequence[Manifest],
        storage: StorageObjects,
        target: BigQueryAddress,
        failed: BigQueryAddress,
    ) -> LandingReport:
        """Land the vectors of jobs from files to files, of the gemini-embedding family, as :meth:`land` does.

        BigQuery loads the files from the bucket into tables of lines, which are dropped afterwards.

        Raises what :meth:`land` and :mod:`~airflow_gemini_batch.landing.bigquery.inputs` raise.
        """
        staging = staging_address(target, *(part for one in manifests for part in _identity(one)))
        requests = request_lines(plan, manifests, storage, staging)
        answers = answer_lines(manifests, storage, staging)
        if not requests:
            return LandingReport(str(target), str(failed), Tally().counts)
        location = self._location(target)
        key_types = dict.fromkeys(plan.key, "STRING")
        preparations = self._preparations(plan, key_types, target, failed)
        with self._dropped_afterwards(staging, *(one.table for one in (*requests, *answers))):
            load_lines((*requests, *answers), self._client)
            self._run(FROM_LINES[plan.family](plan, staging, requests, answers), location)
            self._check_keys(plan, [RequestTable(staging, key_types, "", "", 0, "")], location)
            self._say_shortened(plan, staging, location)
            report = self._merge(plan, staging, target, failed, preparations, location)
            self._say_unreadable(requests, answers if report.counts[Outcome.MISSING] else (), location)
            return report

    def land_staged(
        self, plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress, failed: BigQueryAddress
    ) -> LandingReport:
        """Land the rows of a staging table, and drop it.

        :param staging: a table with the columns of :func:`airflow_gemini_batch.landing.plan.staging_columns`; its name
            is best one of :func:`staging_address`.
        """
        with self._dropped_afterwards(staging):
            table = self._storage.find(staging)
            if table is None:
                raise SourceNotReadyError(f"{staging}: there is no such table")
            preparations = self._preparations(plan, column_types(table.schema), target, failed)
            return self._merge(plan, staging, target, failed, preparations, self._location(target))

    def _location(self, target: BigQueryAddress) -> str:
        from google.api_core.exceptions import NotFound

        try:
            dataset = self._client.get_dataset(f"{target.project}.{target.dataset}", timeout=_CALL_TIMEOUT)
        except NotFound:
            raise InvalidRequestError(
                f"target {target}: the dataset {target.project}.{target.dataset} does not exist; create it in the "
                "location of the answers"
            ) from None
        return str(dataset.location)

    def _check_keys(self, plan: LandingPlan, requests: Sequence[RequestTable], location: str) -> None:
        for other in requests[1:]:
            for name in plan.key:
                if (one := other.columns[name]) != (first := requests[0].columns[name]):
                    raise InvalidRequestError(
                        f"the key column {name!r} is {first} in {requests[0].table} and {one} in {other.table}: land "
                        "them apart, or build them from one source"
                    )
        errors = [
            f"{row['key_count']} keys "
            + ("hold NULL" if row["error"] == "NULL" else "occur more than once")
            + (f": {', '.join(row['sample_keys'])}" if row["sample_keys"] else "")
            for row in self._run(unfit_keys_statement(plan.key, requests), location)
        ]
        if errors:
            raise InvalidRequestError(
                f"The key {', '.join(plan.key)} does not identify the requests, so answers can't be matched:\n"
                + "\n".join(errors)
                + "\nName all columns of the key, and land the manifests of two runs one after the other. Nothing "
                "was landed."
            )

    def _preparations(
        self,
        plan: LandingPlan,
        key_types: Mapping[str, str],
        target: BigQueryAddress,
        failed: BigQueryAddress,
    ) -> list[Statement]:
        """Return the statements that make both tables what they have to be, once it is sure that they can be."""
        columns = {target: target_columns(plan, key_types), failed: failed_columns(plan, key_types)}
        tables = {address: self._storage.find(address) for address in columns}
        for address, table in tables.items():
            check_columns(address, table, columns[address], plan.key)
        return [
            Statement(statement)
            for address, table in tables.items()
            if (statement := prepare_statement(address, table, columns[address]))
        ]

    def _merge(
        self,
        plan: LandingPlan,
        staging: BigQueryAddress,
        target: BigQueryAddress,
        failed: BigQueryAddress,
        preparations: Sequence[Statement],
        location: str,
    ) -> LandingReport:
        if plan.embeds:
            self._check_lengths(staging, target, location)
        for statement in (*preparations, merge_statement(plan, staging, target, failed)):
            self._run_past_rivals(statement, location)
        tally = Tally()
        for row in self._run(count_statement(staging, Tally.MAX_SAMPLES), location):
            outcome = Outcome(row["outcome"])
            tally.add(RowResult(outcome), row["row_count"])
            for message in row["messages"] or ():
                tally.show(RowResult(outcome, message))
        return LandingReport(str(target), str(failed), tally.counts, tally.samples)

    def _check_lengths(self, staging: BigQueryAddress, target: BigQueryAddress, location: str) -> None:
        """Raise unless the vectors are as long as those in the target, where it says how long these are."""
        table = self._storage.find(target)
        if table is None or DIMENSIONS not in column_types(table.schema):
            return
        for row in self._run(other_length_statement(staging, target), location):
            raise other_length(str(target), row["staged"], row["landed"])

    def _say_shortened(self, plan: LandingPlan, staging: BigQueryAddress, location: str) -> None:
        if plan.dimensions is not None:
            ((shortened,),) = self._run(shortened_statement(staging), location)
            say_shortened(self._log, plan, shortened)

    def _say_unreadable(
        self, requests: Sequence[LineTable], answers: Sequence[LineTable], location: str
    ) -> None:
        """Log how many lines could not be read.

        :param answers: none where no request lacks one, since they are read once more for this.
        """
        for lines, path, what in (
            (requests, "$.request", "lines of the request files hold no request and are left out"),
            (answers, "$", "lines of the answers hold no JSON object; their requests count as missing"),
        ):
            if lines:
                ((count,),) = self._run(unreadable_statement(lines, path), location)
                if count:
                    self._log.warning("%d %s", count, what)

    @contextmanager
    def _dropped_afterwards(self, *tables: BigQueryAddress) -> Iterator[None]:
        try:
            yield
        finally:
            for table in tables:
                self._drop(table)

    def _drop(self, table: BigQueryAddress) -> None:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            self._client.delete_table(table.dotted, not_found_ok=True, timeout=_CALL_TIMEOUT)
        except GoogleAPICallError as error:
            self._log.warning("%s could not be dropped and expires in a day: %s", table, error)

    def _run_past_rivals(self, statement: Statement, location: str) -> None:
        """Run a statement that changes a table, again when another one came in between."""
        from google.api_core.exceptions import GoogleAPICallError

        for pause in self._rival_pauses:
            try:
                self._run(statement, location)
            except GoogleAPICallError as error:
                if not any(sign in str(error) for sign in _RIVALRY):
                    raise
                self._log.warning(
                    "Another statement changed the table; trying again in %g s: %s", pause, error
                )
                time.sleep(pause)
            else:
                return
        self._run(statement, location)

    def _run(self, statement: Statement, location: str) -> list[Row]:
        return list(
            self._client.query_and_wait(
                statement.sql,
                job_config=statement.job_config(),
                location=location,
                api_timeout=_CALL_TIMEOUT,
                wait_timeout=_QUERY_TIMEOUT,
            )
        )


def _identity(manifest: Manifest) -> list[str]:
    return [manifest.identity, *(one.output or one.job_name for one in manifest.rounds)]
