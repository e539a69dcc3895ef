"""Landing in BigQuery: one staging table with a row for each request, then one merge in a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.portions import DEFAULT_LIMITS, StatementLimits
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.collecting import staging_script
from airflow_gemini_batch.landing.bigquery.embedding_sql import (
    other_length_statement,
    shortened_statement,
)
from airflow_gemini_batch.landing.bigquery.inputs import (
    answer_tables,
    request_tables,
    shared_key_types,
)
from airflow_gemini_batch.landing.bigquery.merge_sql import count_statement, merge_statement
from airflow_gemini_batch.landing.bigquery.staging import stage_files
from airflow_gemini_batch.landing.bigquery.staging_sql import (
    unfit_keys_statement,
)
from airflow_gemini_batch.landing.bigquery.targets import (
    check_columns,
    column_types,
    prepare_statement,
    staging_address,
)
from airflow_gemini_batch.landing.files.vectors import other_length, warn_of_shortened
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport, failed_columns, target_columns
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.embeddings import DIMENSIONS

if TYPE_CHECKING:
    from google.cloud import storage
    from google.cloud.bigquery import Client, Row

_CALL_TIMEOUT = 60.0
_QUERY_TIMEOUT = 3600.0

# How BigQuery refuses the second of two statements that change one table at the same time.
RIVALRY = ("aborted due to concurrent update", "Could not serialize access")
RIVAL_PAUSES = (5.0, 20.0)


class TableLanding:
    """Lands answers in tables.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    :param rival_pauses: pauses before each new attempt to change a table that another statement is changing, in
        seconds.
    :param limits: of one statement; answers in more tables are collected first.
    """

    def __init__(
        self,
        client: Client,
        log: Log,
        *,
        rival_pauses: Sequence[float] = RIVAL_PAUSES,
        limits: StatementLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
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

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for keys that do not identify the requests
        and for tables that can't take the answers, before anything is landed, and what
        :mod:`~airflow_gemini_batch.landing.bigquery.inputs` raises.
        """
        if not plan.family.takes_tables:
            raise InvalidRequestError(
                f"the requests are in tables, and jobs of the format {plan.family} read and write files only: give the "
                "model's request_format, or the manifest of its job"
            )
        requests = [one for manifest in manifests for one in request_tables(manifest, plan, self._storage)]
        answers = [one for manifest in manifests for one in answer_tables(manifest, plan, self._storage)]
        key_types = shared_key_types(plan, requests, answers)

        def stage(staging: BigQueryAddress, location: str) -> None:
            script = staging_script(plan, staging, requests, answers, self._limits)
            if script.tables:
                self._log.info("The rows of all jobs are collected in %d tables first", len(script.tables))
            with self._dropped_afterwards(*script.tables):
                for statement in script.statements:
                    self._run(statement, location)

        staging = staging_address(target, manifests)
        return self._land_staged(plan, staging, target, failed, key_types, stage)

    def land_files(
        self,
        plan: LandingPlan,
        manifests: Sequence[Manifest],
        storage_client: storage.Client,
        target: BigQueryAddress,
        failed: BigQueryAddress,
    ) -> LandingReport:
        """Land the answers of jobs from files to files, as :meth:`land` does.

        The rows pass through the worker's disk, in constant memory, and are loaded by one load job. SQL could not
        read them: an answer that came back without its key is matched by a digest that GoogleSQL can't compute.

        Raises what :meth:`land` and :func:`~airflow_gemini_batch.landing.bigquery.staging.stage_files` raise.
        """

        def stage(staging: BigQueryAddress, _: str) -> None:
            stage_files(plan, manifests, staging, storage_client, self._client, self._log)

        staging = staging_address(target, manifests)
        key_types = dict.fromkeys(plan.key, "STRING")
        return self._land_staged(plan, staging, target, failed, key_types, stage)

    def _land_staged(
        self,
        plan: LandingPlan,
        staging: BigQueryAddress,
        target: BigQueryAddress,
        failed: BigQueryAddress,
        key_types: Mapping[str, str],
        stage: Callable[[BigQueryAddress, str], None],
    ) -> LandingReport:
        """Stage answers, check them, and merge them.

        :param key_types: GoogleSQL's types of the key columns; none where there are no requests.
        :param stage: writes the staging table, which is to lie in a location.
        """
        if not key_types:
            return LandingReport(str(target), str(failed), Tally().counts)
        location = self._location(target)
        preparations = self._preparations(plan, key_types, target, failed)
        with self._dropped_afterwards(staging):
            stage(staging, location)
            self._check_keys(plan, staging, key_types, location)
            if plan.embeds:
                self._check_lengths(plan, staging, target, location)
            for statement in (*preparations, merge_statement(plan, staging, target, failed)):
                self._run_past_rivals(statement, location)
            tally = Tally()
            for row in self._run(count_statement(staging, Tally.MAX_SAMPLES), location):
                outcome = Outcome(row["outcome"])
                tally.add(RowResult(outcome), row["row_count"])
                for message in row["messages"] or ():
                    tally.show(RowResult(outcome, message))
            return LandingReport(str(target), str(failed), tally.counts, tally.samples)

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

    def _check_keys(
        self, plan: LandingPlan, staging: BigQueryAddress, key_types: Mapping[str, str], location: str
    ) -> None:
        errors = [
            f"{row['key_count']} keys "
            + ("hold NULL" if row["error"] == "NULL" else "occur more than once")
            + (f": {', '.join(row['sample_keys'])}" if row["sample_keys"] else "")
            for row in self._run(unfit_keys_statement(plan.key, key_types, staging), location)
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

    def _check_lengths(
        self, plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress, location: str
    ) -> None:
        """Raise unless the vectors are as long as those in the target, where it has their lengths."""
        if plan.dimensions is not None:
            ((shortened,),) = self._run(shortened_statement(staging), location)
            warn_of_shortened(self._log, plan, shortened)
        table = self._storage.find(target)
        if table is not None and DIMENSIONS in column_types(table.schema):
            for row in self._run(other_length_statement(staging, target), location):
                raise other_length(str(target), row["staged"], row["landed"])

    @contextmanager
    def _dropped_afterwards(self, *tables: BigQueryAddress) -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            yield
        finally:
            for table in tables:
                try:
                    self._client.delete_table(table.dotted, not_found_ok=True, timeout=_CALL_TIMEOUT)
                except GoogleAPICallError as error:
                    self._log.warning("%s could not be dropped and expires in a day: %s", table, error)

    def _run_past_rivals(self, statement: Statement, location: str) -> None:
        """Run a statement that changes a table, again when another one came in between."""
        from google.api_core.exceptions import GoogleAPICallError

        for pause in (*self._rival_pauses, None):
            try:
                self._run(statement, location)
                return
            except GoogleAPICallError as error:
                if pause is None or not any(sign in str(error) for sign in RIVALRY):
                    raise
                self._log.warning(
                    "Another statement changed the table; trying again in %g s: %s", pause, error
                )
                time.sleep(pause)

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
