"""Landing in BigQuery: one staging table with a row for each request, then a merge in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.portions import DEFAULT_LIMITS, StatementLimits
from airflow_gemini_batch.gcp.queries import CALL_TIMEOUT, RIVALRY, Queries
from airflow_gemini_batch.gcp.statements import Statement, script
from airflow_gemini_batch.gcp.tables import Tables
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.collecting import staging_script
from airflow_gemini_batch.landing.bigquery.inputs import (
    answer_tables,
    request_tables,
    shared_key_types,
)
from airflow_gemini_batch.landing.bigquery.merge_sql import (
    BOUNDS,
    LENGTHS,
    SHORTENED,
    UNFIT_KEYS,
    Bounds,
    Merge,
)
from airflow_gemini_batch.landing.bigquery.previous import keep_previous_table
from airflow_gemini_batch.landing.bigquery.staging import stage_files
from airflow_gemini_batch.landing.bigquery.targets import (
    check_columns,
    column_types,
    prepare_statement,
    pruning_column,
    staging_address,
)
from airflow_gemini_batch.landing.files.vectors import other_length, warn_of_shortened
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport, failed_columns, target_columns
from airflow_gemini_batch.landing.previous import questions_of
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.embeddings import DIMENSIONS

if TYPE_CHECKING:
    from google.cloud import storage
    from google.cloud.bigquery import Client, Row, Table

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
        self._queries = Queries(client, log)

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
        if not requests:
            return LandingReport(str(target), str(failed), Tally().counts)
        staging = staging_address(target, manifests)
        staged = staging_script(plan, staging, requests, answers, self._limits)

        def stage(location: str) -> Statement:
            if staged.tables:
                self._log.info("The rows of all jobs are collected in %d tables first", len(staged.tables))
            for statement in staged.statements[:-1]:
                self._queries.run(statement, location)
            return staged.statements[-1]

        with self._dropped_afterwards(*staged.tables):
            return self._land_staged(
                Merge(plan, key_types, staging, target, failed), stage, questions_of(manifests)
            )

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
        staging = staging_address(target, manifests)

        def stage(_: str) -> None:
            stage_files(plan, manifests, staging, storage_client, self._client, self._log)

        return self._land_staged(
            Merge(plan, dict.fromkeys(plan.key, "STRING"), staging, target, failed),
            stage,
            questions_of(manifests),
        )

    def land_selected(self, merge: Merge, staging: Statement, question: str) -> LandingReport:
        """Land the rows that a statement writes to the staging table, as :meth:`land` does.

        :param question: the id of what they answer.

        Raises what :meth:`land` raises.
        """
        return self._land_staged(merge, lambda _: staging, [question])

    def _land_staged(
        self, merge: Merge, stage: Callable[[str], Statement | None], questions: Sequence[str]
    ) -> LandingReport:
        """Stage answers, check them, and merge them.

        One script does it all. Where tables have to be made or changed before, or a part of the target is enough,
        another one stages and checks first.

        :param stage: writes the staging table, which is to lie in a location; returns the statement that is still due.
        :param questions: ids of what the rows answer.
        """
        location = self._location(merge.target)
        tables = {address: self._storage.find(address) for address in (merge.target, merge.failed)}
        preparations = _preparations(merge, tables)
        target = tables[merge.target]
        pruned = pruning_column(merge.plan.key, target)
        if merge.plan.embeds and target is not None:
            merge = replace(merge, compares_lengths=DIMENSIONS in column_types(target.schema))
        with self._dropped_afterwards(merge.staging):
            first = stage(location)
            if preparations or pruned:
                checking = merge.checking_statement(pruned)
                checked = self._run(script(first, checking) if first else checking, location)
                self._check(merge, checked)
                if BOUNDS in checked:
                    merge = replace(merge, bounds=Bounds(str(pruned), *checked[BOUNDS]["messages"]))
                first = None
            if kept := merge.plan.keep_previous:
                keep_previous_table(
                    self._queries,
                    self._client,
                    merge.target,
                    target,
                    questions,
                    kept,
                    self._log,
                )
            if preparations:
                self._run_past_rivals(script(*preparations), location)
            counted = self._run_past_rivals(merge.merge_statement(), location, first)
            self._check(merge, counted)
        self._queries.log_billed("landing the answers")
        tally = Tally()
        for outcome in Outcome:
            if row := counted.get(outcome):
                tally.add(RowResult(outcome), row["row_count"])
                for message in row["messages"] or ():
                    tally.show(RowResult(outcome, message))
        return LandingReport(str(merge.target), str(merge.failed), tally.counts, tally.samples)

    def _location(self, target: BigQueryAddress) -> str:
        from google.api_core.exceptions import NotFound

        try:
            dataset = self._client.get_dataset(f"{target.project}.{target.dataset}", timeout=CALL_TIMEOUT)
        except NotFound:
            raise InvalidRequestError(
                f"target {target}: the dataset {target.project}.{target.dataset} does not exist; create it in the "
                "location of the answers"
            ) from None
        return str(dataset.location)

    def _check(self, merge: Merge, found: Mapping[str, Row]) -> None:
        """Raise if a statement has found that the staged answers can't land; warns of vectors that were cut."""
        errors = [
            f"{row['row_count']} keys {what}" + (f": {', '.join(row['messages'])}" if row["messages"] else "")
            for error, what in UNFIT_KEYS.items()
            if (row := found.get(error))
        ]
        if errors:
            raise InvalidRequestError(
                f"The key {', '.join(merge.plan.key)} does not identify the requests, so answers can't be matched:\n"
                + "\n".join(errors)
                + "\nName all columns of the key, and land the manifests of two runs one after the other. Nothing "
                "was landed."
            )
        if SHORTENED in found:
            warn_of_shortened(self._log, merge.plan, found[SHORTENED]["row_count"])
        if LENGTHS in found:
            raise other_length(str(merge.target), *map(int, found[LENGTHS]["messages"]))

    @contextmanager
    def _dropped_afterwards(self, *tables: BigQueryAddress) -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            yield
        finally:
            for table in tables:
                try:
                    self._client.delete_table(table.dotted, not_found_ok=True, timeout=CALL_TIMEOUT)
                except GoogleAPICallError as error:
                    self._log.warning("%s could not be dropped and expires in a day: %s", table, error)

    def _run_past_rivals(
        self, statement: Statement, location: str, first: Statement | None = None
    ) -> dict[str, Row]:
        """Run a statement that changes a table, again when another one came in between.

        :param first: is run once, before it.
        """
        from google.api_core.exceptions import GoogleAPICallError

        both = script(first, statement) if first else statement
        if first and not self._limits.allow(both, 0):
            self._run(first, location)
            both = statement
        for pause in self._rival_pauses:
            try:
                return self._run(both, location)
            except GoogleAPICallError as error:
                if not any(sign in str(error) for sign in RIVALRY):
                    raise
                self._log.warning(
                    "Another statement changed the table; trying again in %g s: %s", pause, error
                )
                time.sleep(pause)
                both = statement
        return self._run(both, location)

    def _run(self, statement: Statement, location: str) -> dict[str, Row]:
        """Run a statement and return the rows of its last query, by outcome."""
        return {row["outcome"]: row for row in self._queries.run(statement, location)}


def _preparations(merge: Merge, tables: Mapping[BigQueryAddress, Table | None]) -> list[Statement]:
    """Return the statements that make both tables what they have to be, once it is sure that they can be."""
    columns = {
        merge.target: target_columns(merge.plan, merge.key_types),
        merge.failed: failed_columns(merge.plan, merge.key_types),
    }
    for address, table in tables.items():
        check_columns(address, table, columns[address], merge.plan.key)
    return [
        Statement(statement)
        for address, table in tables.items()
        if (statement := prepare_statement(address, table, columns[address]))
    ]
