"""A build from BigQuery: the rows are sorted and counted by state, before any request is written."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import xor
from typing import TYPE_CHECKING, Generic, TypeVar

import orjson

from airflow_gemini_batch.core.addresses import PARTITION_MARK, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, ColumnTypes
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.shown import shown
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError, as_invalid_request
from airflow_gemini_batch.gcp.portions import DEFAULT_LIMITS, StatementLimits, portions
from airflow_gemini_batch.gcp.queries import CALL_TIMEOUT, Queries
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.gcp.tables import FILTER_HINT, Tables, check_readable_whole
from airflow_gemini_batch.requests.bigquery.build_sql import (
    DONE,
    FAILED,
    RequestRows,
    any_of,
    asked_condition,
    collecting_statement,
    counting_statement,
)
from airflow_gemini_batch.requests.bigquery.expressions import check_key_types, types_of
from airflow_gemini_batch.requests.bigquery.write_sql import Sharding, request_columns
from airflow_gemini_batch.requests.done import Place, done_query
from airflow_gemini_batch.requests.failed import failed_query
from airflow_gemini_batch.requests.row_kinds import RowCount, RowKind
from airflow_gemini_batch.requests.sources import QueryRows, TableRows
from airflow_gemini_batch.requests.spec import BadRows, BuildPlan, BuildReport
from airflow_gemini_batch.requests.templates import BadRow

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, QueryJob, Row, Table
    from google.cloud.bigquery.table import RowIterator

Destination = TypeVar("Destination", BigQueryAddress, GcsAddress)


@dataclass(frozen=True, slots=True)
class BuildPreview:
    """What a build would write; no request is written yet.

    :param report: what it would report, without sources.
    :param where: the source, for messages.
    :param request_rows: what the requests are to be made of.
    :param location: where the statements run; ``None`` leaves it to BigQuery.
    :param digest: of the keys and requests that would be written.
    """

    report: BuildReport
    where: str
    request_rows: RequestRows
    location: str | None
    digest: str

    @property
    def sharding(self) -> Sharding:
        """How the requests are divided among jobs."""
        return Sharding(self.report.requests, self.request_rows.plan.shard_rows)


class BigQueryBuild(ABC, Generic[Destination]):
    """Builds requests of rows in BigQuery.

    The source is read once, into a table that says of each row whether it is asked, and why not. From there the rows
    are counted, and requests are made of those that are asked, for as many jobs as it takes.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    :param under_way: tables of requests that other runs ask at this moment, for the same target.
    :param limits: of one statement; what more tables hold is collected first.
    """

    def __init__(
        self,
        client: Client,
        log: Log,
        under_way: Sequence[BigQueryAddress] = (),
        limits: StatementLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
        self._client = client
        self._log = log
        self._under_way = under_way
        self._queries = Queries(client, log)

    @abstractmethod
    def _location(self, destination: Destination) -> str | None:
        """Return where source and target have to be; ``None`` for the source's location.

        Raises :class:`.InvalidRequestError` for a destination that does not exist.
        """

    @abstractmethod
    def _sorted(
        self, request_rows: RequestRows, destination: Destination, location: str | None, where: str
    ) -> AbstractContextManager[tuple[str, RowIterator]]:
        """Run :func:`.sorting_statements`; give the table, as it stands in a statement, and the numbers of its rows."""

    @abstractmethod
    def _write(self, preview: BuildPreview, destination: Destination) -> BuildReport:
        """Write the requests, unless they are there already, and return the report."""

    def run(self, plan: BuildPlan, source: TableRows | QueryRows, destination: Destination) -> BuildReport:
        """Build the requests.

        Raises :class:`.InvalidRequestError` for columns or rows that can't become requests and for a query that
        BigQuery refuses, and :class:`.SourceNotReadyError` for a table that does not exist, or a source that changes
        while it is read.
        """
        where, rows, types, location = self._rows(source, self._location(destination))
        plan.check_columns(types, where=where)
        check_key_types(plan.key, types, where=where)
        given = source.parameters if isinstance(source, QueryRows) else {}
        known = any_of(self._collected(self._known(plan, destination, location), destination, location))
        request_rows = RequestRows(plan, rows, types, known, given)
        with self._sorted(request_rows, destination, location, where) as (table, counts):
            counted = list(counts)
            bad = {
                reason: BadRows().plus(row["row_count"], row["sample_keys"] or ())
                for reason in BadRow
                for row in counted
                if row["state"] == reason.name
            }
            plan.check_rows(bad)
            every = _kinds(counted)
            answers = [row["answers"] for row in counted if row["answers"]]
            most = plan.most_changed(every, answers)
            condition = asked_condition(plan, most)
            asked = [row for row in counted if row["state"] in {kind.name for kind in plan.asked_kinds}]
            if most is not None:
                asked = list(self._run(counting_statement(table, condition), location, where))
            report = BuildReport.of(
                plan,
                _kinds(asked),
                every,
                done=sum(row["row_count"] for row in counted if row["state"] == DONE),
                failed_before=sum(row["row_count"] for row in counted if row["state"] == FAILED),
                bad=bad,
                answers=answers,
            )
            self._log.info("%s: %s", where, report)
            plan.check_jobs(report.requests, Sharding(report.requests, plan.shard_rows).count)
            if plan.writes:
                digest = _digest_of(plan, types, asked)
                rows_asked = request_rows.sorted_in(table, condition)
                preview = BuildPreview(report, where, rows_asked, location, digest)
                report = self._write(preview, destination)
        self._queries.log_billed("building the requests")
        return report

    def _run(self, statement: Statement, location: str | None, where: str) -> RowIterator:
        """Run a statement over the source's rows to its end; see :func:`reading` for what it raises."""
        with reading(where):
            return self._queries.run(statement, location)

    def _rows(
        self, source: TableRows | QueryRows, location: str | None
    ) -> tuple[str, str, ColumnTypes, str | None]:
        """Return the source's name for messages, the query for its rows, the types of its columns, and its location."""
        if isinstance(source, QueryRows):
            job = dry_run(self._client, source, location)
            return "the source query", source.sql, types_of(job.schema), location or job.location
        where = f"source {source.address}"
        if PARTITION_MARK in source.address.table:
            raise InvalidRequestError(
                f"{where} names a partition: give a query with WHERE on the partition's column"
            )
        table = Tables(self._client).find(source.address)
        if table is None:
            raise SourceNotReadyError(f"{where}: there is no such table")
        check_readable_whole(table, where, FILTER_HINT)
        _check_location(table, where, location)
        rows = f"SELECT * FROM {source.address.sql}"
        return where, rows, types_of(table.schema), location or table.location

    def _known(self, plan: BuildPlan, destination: Destination, location: str | None) -> list[str]:
        """Return queries for the requests that are known: answered, asked at this moment, or failed."""
        if plan.done_target is None:
            return []
        queries: list[str] = []
        for where, place in (
            (plan.done_target, Place.TARGET),
            *((one, Place.CANARY) for one in plan.canary_targets),
        ):
            try:
                address = BigQueryAddress.parse(where)
            except ValueError as error:
                raise InvalidRequestError(
                    f"target: {error}; rows of BigQuery are compared with a table there"
                ) from error
            table = Tables(self._client).find(address)
            if table is None:
                self._log.info("%s does not exist yet: no row is done", address)
            else:
                _check_location(table, f"target {address}", location)
                queries.append(done_query(address, table, plan.key, place))
        for requests in self._under_way:
            table = Tables(self._client).find(requests)
            if table is None or not {*plan.key, FINGERPRINT_COLUMN} <= types_of(table.schema).keys():
                self._log.warning(
                    "Rows that another run has asked may be asked again: %s is gone, or has another key",
                    requests,
                )
            else:
                queries.append(done_query(requests, table, plan.key, Place.ASKED))
        failed = self._failed(plan, location)
        return [*queries, failed] if failed else queries

    def _collected(
        self, queries: Sequence[str], destination: Destination, location: str | None
    ) -> Sequence[str]:
        """Return queries for what these give, as few as one statement takes.

        Beside them the statement reads the source, and holds the template and the source's query.
        """
        limits = replace(self._limits, text=self._limits.text // 2)
        if limits.allow(Statement(any_of(queries)), len(queries)):
            return queries
        if not isinstance(destination, BigQueryAddress):
            raise TypeError("only tables can be under way")
        collected = []
        for part in portions(queries, lambda some: Statement(any_of(some)), limits):
            digest = hashlib.sha256(any_of(part).encode()).hexdigest()[:16]
            statement = collecting_statement(part, table := destination.with_table(f"done_{digest}"))
            self._run(statement, location, "the rows that are done")
            collected.append(f"SELECT key_text, fingerprint, place, question FROM {table.sql}")
        return collected

    def _failed(self, plan: BuildPlan, location: str | None) -> str | None:
        if plan.kept_failures is None:
            return None
        with as_invalid_request("failed_target"):
            address = BigQueryAddress.parse(plan.kept_failures)
        table = Tables(self._client).find(address)
        if table is None:
            return None
        _check_location(table, f"failed_target {address}", location)
        return failed_query(plan, address, table, self._log)


def _kinds(counted: Iterable[Row]) -> dict[RowKind, RowCount]:
    """Return the numbers of the rows that may be asked, of the result of :func:`.counting_statement`."""
    kinds: dict[RowKind, RowCount] = {}
    for row in counted:
        if row["state"] in RowKind.__members__:
            kind = RowKind[row["state"]]
            count = RowCount(row["row_count"], row["characters"] or 0, row["files"] or 0)
            kinds[kind] = kinds.get(kind, RowCount()) + count
    return {kind: kinds[kind] for kind in RowKind if kind in kinds}


def _digest_of(plan: BuildPlan, types: ColumnTypes, asked: Sequence[Row]) -> str:
    """Return a digest of the requests of the rows that are asked."""
    columns = [[name, types.get(name, "STRING")] for _, name in request_columns(plan, Parameters())]
    digest = reduce(xor, (row["digest"] or 0 for row in asked), 0)
    content = [columns, sum(row["row_count"] for row in asked), digest]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()[:16]


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Raise this package's errors for a statement over the source's rows that BigQuery refuses.

    Raises :class:`.InvalidRequestError` for a statement that is refused, and :class:`.SourceNotReadyError` for a table
    that does not exist.
    """
    from google.api_core.exceptions import BadRequest, NotFound

    try:
        yield
    except BadRequest as error:
        raise InvalidRequestError(f"BigQuery can't make requests of {where}: {error.message}") from error
    except NotFound as error:
        raise SourceNotReadyError(f"{where} can't be read: {error.message}") from error


def types_of_query(client: Client, query: QueryRows, location: str | None) -> ColumnTypes:
    """Return GoogleSQL's type of each column of a query's rows; raises what :func:`dry_run` raises."""
    return types_of(dry_run(client, query, location).schema)


def dry_run(client: Client, query: QueryRows, location: str | None) -> QueryJob:
    """Return the job that a query would be. The query is not run, and nothing is billed.

    Raises what :func:`reading` raises, and :class:`.InvalidRequestError` for what is not one query.
    """
    statement = Statement(query.sql, given=query.parameters)
    config = statement.job_config(dry_run=True, use_query_cache=False)
    with reading("the source query"):
        job = client.query(statement.sql, config, location=location, timeout=CALL_TIMEOUT)
    if not job.schema:
        raise InvalidRequestError(
            f"the source query is not one statement: {shown(query.sql[:200], lines=True)}\n"
            "Give a query that begins with SELECT or WITH"
        )
    return job


def _check_location(table: Table, where: str, location: str | None) -> None:
    if table.location and location and table.location.lower() != location.lower():
        raise InvalidRequestError(
            f"{where} is in {table.location}, and the rest in {location}: BigQuery reads and writes in one location "
            "only. Put source, target and the dataset of the request tables into one"
        )
