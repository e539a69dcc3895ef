"""The preflight of a pipeline: what would fail its later tasks is reported before anything is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.columns import FAILED_COLUMNS
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.objects import CREATE_OBJECTS
from airflow_gemini_batch.gcp.tables import CHANGE_ROWS, FILTER_HINT, check_readable_whole
from airflow_gemini_batch.landing.bigquery.targets import check_columns
from airflow_gemini_batch.landing.plan import LandingPlan, column_type
from airflow_gemini_batch.preflight.checker import PreflightChecker
from airflow_gemini_batch.preflight.findings import Finding, Severity, error, warning
from airflow_gemini_batch.preflight.rows import CHECKED_ROWS, row_findings, template_findings
from airflow_gemini_batch.requests.bigquery.expressions import check_key_types, types_of
from airflow_gemini_batch.requests.bigquery.preview import types_of_query
from airflow_gemini_batch.requests.build import request_dataset, request_folder
from airflow_gemini_batch.requests.done import done_query, read_done_files
from airflow_gemini_batch.requests.failed import failed_query, read_failed
from airflow_gemini_batch.requests.files.importable import importable_template
from airflow_gemini_batch.requests.files.rows import python_rows, read_rows
from airflow_gemini_batch.requests.sources import FileRows, PythonRows, QueryRows, RowSource, TableRows
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud.bigquery import Table

    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

_NO_ROWS = "add rows, or leave the preflight out if runs without rows are normal"


def preflight_rows(
    hook: GeminiBatchHook,
    plan: BuildPlan,
    source: RowSource | PythonRows | Callable[[], PythonRows],
    *,
    target: str,
    failed_target: str | None = None,
    requests: str | None = None,
    answers: Sequence[AnswerColumn] = (),
    service_account: str | None = None,
    kms_key_name: str | None = None,
) -> list[Finding]:
    """Check a pipeline from its rows to its targets; nothing is written, and no query is run.

    It reports problems that all requests would share; a source that is missing, is empty or lacks columns; rows among
    the first :data:`~airflow_gemini_batch.preflight.rows.CHECKED_ROWS` that can't become requests (not of queries and
    views, where reading them costs); buckets, datasets and tables that do not exist, are in another location or can't
    be written to; and a target that can't take the answers.

    Give the findings to :func:`airflow_gemini_batch.preflight.findings.raise_findings`.

    :param source: a function is called, and the first rows of what it returns are taken; an iterator is left alone.
    :param target: where answers land: a table, or a file on Cloud Storage or on this worker.
    :param failed_target: where rows without an answer go; ``None`` for beside the target.
    :param requests: their dataset or folder; ``None`` for the one that the build would choose.
    :param answers: the columns that answers land in, as far as they are known.
    :param service_account: that the jobs run as.
    :param kms_key_name: that encrypts what the jobs keep.
    """
    checker = _PipelineChecker(hook, plan)
    checker.findings += template_findings(plan)
    checker.check_landing(answers)
    destination = checker.check_requests(source, requests)
    checker.check_source(source, destination)
    checker.check_done_rows()
    checker.check_target("target", target, {column.name: column_type(column) for column in answers})
    if failed_target:
        checker.check_target("failed_target", failed_target, FAILED_COLUMNS)
    checker.check_locations(checker.located)
    checker.check_account_and_key(service_account, kms_key_name)
    return checker.findings


class _PipelineChecker(PreflightChecker):
    """Checks rows, requests and targets. ``located`` are the addresses that have to be in the job's location."""

    def __init__(self, hook: GeminiBatchHook, plan: BuildPlan) -> None:
        super().__init__(hook)
        self.located: list[Address] = []
        self._plan = plan

    def check_requests(self, source: object, requests: str | None) -> Address | None:
        """Check the dataset or folder of the requests, and return it; ``None`` when it is unknown."""
        address: Address
        try:
            if isinstance(source, (TableRows, QueryRows)) and self._plan.family.takes_tables:
                address = request_dataset(requests, self._plan.target, source)
            else:
                with self.checking("requests"):
                    importable_template(self._plan.template, self._plan.family)
                address = request_folder(requests, self._plan.target)
        except ValueError as exc:
            self.findings.append(error(str(exc)))
            return None
        self._check_write_access("requests", address)
        self.located.append(address)
        return address

    def check_source(
        self, source: RowSource | PythonRows | Callable[[], PythonRows], destination: Address | None
    ) -> None:
        """Check where the rows come from, and the first of them."""
        if isinstance(source, TableRows):
            self._check_table(source.address)
        elif isinstance(source, QueryRows):
            with self.checking("the source query"):
                location = self._dataset_location(destination) or self.hook.location
                types = types_of_query(self.hook.bigquery_client, source, location)
                self._check_types(types, "the query")
        elif isinstance(source, Iterator):
            message = "an iterator can be read only once, so its rows were not checked"
            self.findings.append(
                warning(message, "give a list, or a function that returns the rows", "source")
            )
        else:
            self._check_stream(source)

    def check_done_rows(self) -> None:
        """Check that the target shows which rows are done, and the failures which have failed for good."""
        plan, log = self._plan, self.hook.log
        if plan.done_target:
            with self.checking(f"target {plan.done_target}"):
                if not plan.done_target.startswith("bq://"):
                    # The check comes with the first row.
                    next(read_done_files(plan.done_target, plan.key, self.hook.storage_client), None)
                elif address := self._table_address("target", plan.done_target):
                    table = self.store.tables.find(address)
                    if table is not None:
                        done_query(address, table, plan.key)
        if plan.kept_failures:
            with self.checking(f"failed_target {plan.kept_failures}"):
                if not plan.kept_failures.startswith("bq://"):
                    clients = (lambda: self.hook.storage_client, lambda: self.hook.bigquery_client)
                    next(read_failed(plan, *clients, log), None)
                elif address := self._table_address("failed_target", plan.kept_failures):
                    table = self.store.tables.find(address)
                    if table is not None:
                        failed_query(plan, address, table, log)

    def check_landing(self, answers: Sequence[AnswerColumn]) -> None:
        """Check that key, answers and bookkeeping can be columns of one table."""
        try:
            LandingPlan(self._plan.key, tuple(answers), family=self._plan.family)
        except InvalidRequestError as exc:
            self.findings.append(error(str(exc)))

    def check_target(self, role: str, target: str, columns: Mapping[str, str]) -> None:
        """Check that these columns, with BigQuery's types, can land there."""
        if "://" not in target:
            self._check_local_target(role, target)
        elif not target.startswith("bq://"):
            try:
                self._check_write_access(role, parse_address(target))
            except ValueError as exc:
                self.findings.append(error(str(exc), where=role))
        elif address := self._table_address(role, target):
            self._check_write_access(role, address)
            if any(isinstance(other, BigQueryAddress) for other in self.located):
                # BigQuery merges tables into the target, and takes one location for all.
                self.located.append(address)
            with self.checking(f"{role} {target}"):
                check_columns(address, self.store.tables.find(address), columns, ())

    def _check_table(self, address: BigQueryAddress) -> None:
        where = f"source {address}"
        self.located.append(address)
        with self.checking(where):
            table = self.store.tables.find(address)
            if table is None:
                self.findings.append(error("there is no such table", "create it", where, retryable=True))
            else:
                check_readable_whole(table, where, FILTER_HINT)
                self._check_types(types_of(table.schema), where)
                self._check_first_rows(table, where)

    def _check_first_rows(self, table: Table, where: str) -> None:
        """Check the first rows of a table; those of a view cost a query."""
        if table.table_type != "TABLE":
            return
        columns = (*self._plan.key, *self._plan.template.columns)
        rows = list(self.store.tables.first_rows(table, columns, CHECKED_ROWS))
        if not rows:
            self.findings.append(error("the table is empty", _NO_ROWS, where, retryable=True))
        self._check_rows(rows)

    def _check_stream(self, source: FileRows | PythonRows | Callable[[], PythonRows]) -> None:
        """Check files, or rows from Python."""
        with self.checking("the source"):
            if isinstance(source, FileRows):
                columns = (*self._plan.key, *self._plan.template.columns)
                rows = read_rows(source, columns, self.hook.storage_client)
            else:
                rows = python_rows(source() if callable(source) else source)
            if rows.columns is not None:
                self._plan.check_columns(rows.columns, where=rows.where)
            first = list(islice(rows.rows, CHECKED_ROWS))
            if not first:
                self.findings.append(
                    error("there are no rows", _NO_ROWS, f"source {rows.where}", retryable=True)
                )
            self._check_rows(first)

    def _check_types(self, types: Mapping[str, str], where: str) -> None:
        self._plan.check_columns(types, where=where)
        check_key_types(self._plan.key, types, where=where)

    def _check_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        # Every row would repeat a problem that all requests share.
        if all(finding.severity is Severity.WARNING for finding in template_findings(self._plan)):
            self.findings += row_findings(rows, self._plan)

    def _check_write_access(self, role: str, address: Address) -> None:
        """Check that a bucket, dataset or table exists and can be written to."""
        where = f"{role} {address}"
        with self.checking(where):
            if isinstance(address, GcsAddress):
                may_write = self.store.files.may_write(address.bucket)
                if may_write is None:
                    self.findings.append(error("the bucket does not exist", "create it", where))
                elif not may_write:
                    self.findings.append(_forbidden(CREATE_OBJECTS, "roles/storage.objectUser", where))
            elif self._dataset_location(address) is None:
                hint = "create it in the location of the job"
                self.findings.append(error("the dataset does not exist", hint, where))
            elif address.is_table and self.store.tables.may_write(address) is False:
                self.findings.append(_forbidden(CHANGE_ROWS, "roles/bigquery.dataEditor", where))

    def _check_local_target(self, role: str, target: str) -> None:
        folder = next(parent for parent in Path(target).absolute().parents if parent.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            message = f"this worker can't create files in {folder}"
            self.findings.append(error(message, "choose another folder", f"{role} {target}"))

    def _table_address(self, role: str, address: str) -> BigQueryAddress | None:
        try:
            parsed = BigQueryAddress.parse(address)
            if not parsed.is_table:
                raise ValueError(f"{address} is a dataset, not a table: add the table's name")
        except ValueError as exc:
            self.findings.append(error(str(exc), where=role))
            return None
        return parsed

    def _dataset_location(self, address: Address | None) -> str | None:
        if not isinstance(address, BigQueryAddress):
            return None
        return self.store.tables.dataset_location(address)


def _forbidden(permission: str, role: str, where: str) -> Finding:
    return error(f"the connection's account lacks the permission {permission}", f"grant it {role}", where)
