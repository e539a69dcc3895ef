"""The preflight of a pipeline: what its later tasks would stumble over is asked before anything is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address
from airflow_gemini_batch.core.columns import FAILED_COLUMNS
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.inspection import CHANGE_ROWS, CREATE_OBJECTS
from airflow_gemini_batch.landing.bigquery.targets import check_columns
from airflow_gemini_batch.landing.plan import LandingPlan, column_type
from airflow_gemini_batch.preflight.checker import PreflightChecker
from airflow_gemini_batch.preflight.findings import Finding, error, warning
from airflow_gemini_batch.preflight.rows import CHECKED_ROWS, row_findings, template_findings
from airflow_gemini_batch.requests.bigquery.expressions import check_key_types, types_of
from airflow_gemini_batch.requests.bigquery.preview import types_of_query
from airflow_gemini_batch.requests.build import request_dataset, request_folder
from airflow_gemini_batch.requests.done import done_rows, read_done_files
from airflow_gemini_batch.requests.files.rows import python_rows, read_rows
from airflow_gemini_batch.requests.sources import FileRows, QueryRows, RowSource, TableRows
from airflow_gemini_batch.requests.spec import BuildPlan

if TYPE_CHECKING:
    from google.cloud.bigquery import Table

    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

PythonRows = Iterable[Mapping[str, Any]]

_NO_ROWS = "fill it, or go without a preflight where a run without rows is in order"


def preflight_rows(
    hook: GeminiBatchHook,
    plan: BuildPlan,
    source: RowSource | PythonRows | Callable[[], PythonRows],
    *,
    target: str,
    failed_target: str | None = None,
    requests: str | None = None,
    answers: Sequence[AnswerColumn] = (),
) -> list[Finding]:
    """Check a pipeline from its rows to its targets; nothing is written, and no query is run.

    What is told: faults that all requests would share, a source that is missing, is empty or lacks columns, rows
    among the first :data:`~airflow_gemini_batch.preflight.rows.CHECKED_ROWS` that can't become requests (not of
    queries and views, where reading them costs), places that do not exist, lie elsewhere or may not be written to,
    and a target that can't take the answers.

    Give the findings to :func:`airflow_gemini_batch.preflight.findings.raise_findings`.

    :param source: a function is called, and the first rows of what it returns are taken; an iterator is left alone.
    :param target: where answers land: a table, or a file on Cloud Storage or on this worker.
    :param failed_target: where rows without an answer go; ``None`` for beside the target.
    :param requests: their dataset or folder; ``None`` for the one that the build would choose.
    :param answers: the columns that answers land in, as far as they are known.
    """
    look = _PipelineChecker(hook, plan)
    look.findings += template_findings(plan)
    look.at_landing(answers)
    place = look.at_requests(source, requests)
    look.at_rows(source, place)
    look.at_done_rows()
    look.at_target("target", target, {column.name: column_type(column) for column in answers})
    if failed_target:
        look.at_target("failed_target", failed_target, FAILED_COLUMNS)
    look.at_locations(look.neighbours)
    return look.findings


class _PipelineChecker(PreflightChecker):
    """Looks at rows, requests and targets.

    ``neighbours`` are the places that have to be where the job is.
    """

    def __init__(self, hook: GeminiBatchHook, plan: BuildPlan) -> None:
        super().__init__(hook)
        self.neighbours: list[Address] = []
        self._plan = plan

    def at_requests(self, source: object, requests: str | None) -> Address | None:
        """Check the place of the requests, and return it; ``None`` when it can't be told."""
        place: Address
        try:
            if isinstance(source, (TableRows, QueryRows)) and self._plan.family.takes_tables:
                place = request_dataset(requests, self._plan.target, source)
            else:
                place = request_folder(requests, self._plan.target)
        except ValueError as fault:
            self.findings.append(error(str(fault)))
            return None
        self._at_place("requests", place)
        self.neighbours.append(place)
        return place

    def at_rows(
        self, source: RowSource | PythonRows | Callable[[], PythonRows], place: Address | None
    ) -> None:
        """Check where the rows come from, and the first of them."""
        if isinstance(source, TableRows):
            self._at_table(source.address)
        elif isinstance(source, QueryRows):
            with self.asking("the source query"):
                location = self._dataset_location(place) or self.hook.location
                self._check_types(
                    types_of_query(self.hook.bigquery_client, source.sql, location), "the query"
                )
        elif isinstance(source, Iterator):
            message = "the rows can be read only once, so that they are left to the build"
            self.findings.append(warning(message, "give a list, or a function that returns the rows"))
        else:
            self._at_stream(source)

    def at_done_rows(self) -> None:
        """Check that it can be told which rows are done."""
        target = self._plan.done_target
        if not target:
            return
        with self.asking(f"target {target}"):
            if not target.startswith("bq://"):
                # The check comes with the first row.
                next(read_done_files(self._plan, self.hook.storage_client), None)
            elif address := self._table_address("target", target):
                table = self.store.tables.find(address)
                if table is not None:
                    done_rows(address, table, self._plan.key)

    def at_landing(self, answers: Sequence[AnswerColumn]) -> None:
        """Check that key, answers and bookkeeping can be columns of one table."""
        try:
            LandingPlan(self._plan.key, tuple(answers), family=self._plan.family)
        except InvalidRequestError as fault:
            self.findings.append(error(str(fault)))

    def at_target(self, role: str, target: str, columns: Mapping[str, str]) -> None:
        """Check that these columns, with BigQuery's types, can land there."""
        if "://" not in target:
            self._at_local_target(role, target)
        elif not target.startswith("bq://"):
            try:
                self._at_place(role, parse_address(target))
            except ValueError as fault:
                self.findings.append(error(str(fault), place=role))
        elif address := self._table_address(role, target):
            self._at_place(role, address)
            if any(isinstance(place, BigQueryAddress) for place in self.neighbours):
                # What comes from tables is merged into the target by BigQuery, which takes one location for all.
                self.neighbours.append(address)
            with self.asking(f"{role} {target}"):
                check_columns(address, self.store.tables.find(address), columns, ())

    def _at_table(self, address: BigQueryAddress) -> None:
        where = f"source {address}"
        self.neighbours.append(address)
        with self.asking(where):
            table = self.store.tables.find(address)
            if table is None:
                self.findings.append(error("there is no such table", "create it", where, retryable=True))
            else:
                self._check_types(types_of(table.schema), where)
                self._at_first_rows(table, where)

    def _at_first_rows(self, table: Table, where: str) -> None:
        """Check the first rows of a table; those of a view cost a query."""
        if table.table_type != "TABLE":
            return
        columns = (*self._plan.key, *self._plan.template.columns)
        rows = list(self.store.table_inspection.first_rows(table, columns, CHECKED_ROWS))
        if not rows:
            self.findings.append(error("the table is empty", _NO_ROWS, where, retryable=True))
        self._check_rows(rows)

    def _at_stream(self, source: FileRows | PythonRows | Callable[[], PythonRows]) -> None:
        """Check files, or rows from Python."""
        with self.asking("the source"):
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
        self._plan.check_columns(list(types), where=where)
        check_key_types(self._plan.key, types, where=where)

    def _check_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        # With a fault that all requests share, every row would be told again.
        if not template_findings(self._plan):
            self.findings += row_findings(rows, self._plan)

    def _at_place(self, role: str, address: Address) -> None:
        """Find out whether a bucket, dataset or table is there, and may be written to."""
        place = f"{role} {address}"
        with self.asking(place):
            if isinstance(address, GcsAddress):
                may_write = self.store.file_inspection.may_write(address.bucket)
                if may_write is None:
                    self.findings.append(error("the bucket does not exist", "create it", place))
                elif not may_write:
                    self.findings.append(_forbidden(CREATE_OBJECTS, "roles/storage.objectUser", place))
            elif self._dataset_location(address) is None:
                hint = "create it in the location of the job"
                self.findings.append(error("the dataset does not exist", hint, place))
            elif address.is_table and self.store.table_inspection.may_write(address) is False:
                self.findings.append(_forbidden(CHANGE_ROWS, "roles/bigquery.dataEditor", place))

    def _at_local_target(self, role: str, target: str) -> None:
        folder = next(parent for parent in Path(target).absolute().parents if parent.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            message = f"{folder} is no folder that this worker may write to"
            self.findings.append(error(message, "name another", f"{role} {target}"))

    def _table_address(self, role: str, address: str) -> BigQueryAddress | None:
        try:
            parsed = BigQueryAddress.parse(address)
            if not parsed.is_table:
                raise ValueError(f"{address} is a dataset: name the table as well")
        except ValueError as fault:
            self.findings.append(error(str(fault), place=role))
            return None
        return parsed

    def _dataset_location(self, address: Address | None) -> str | None:
        if not isinstance(address, BigQueryAddress):
            return None
        return self.store.table_inspection.dataset_location(address)


def _forbidden(permission: str, role: str, place: str) -> Finding:
    return error(f"the connection's account may not write there ({permission})", f"grant it {role}", place)
