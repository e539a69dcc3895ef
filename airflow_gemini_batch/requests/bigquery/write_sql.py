"""The statements that write the requests of rows in BigQuery, to tables or to files, divided among jobs.

As in :mod:`~airflow_gemini_batch.requests.bigquery.build_sql`, no value of a row leaves BigQuery.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, SHARD_COLUMN
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.requests.bigquery.build_sql import (
    RequestRows,
    key_names,
    request_clauses,
)
from airflow_gemini_batch.requests.bigquery.expressions import field_value, quoted
from airflow_gemini_batch.requests.spec import BuildPlan

DAYS_KEPT = 14
"""Life of a request table. A job waits up to four days; the rest is for those who clear a run later."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How the requests are divided among jobs.

    :param requests: their number.
    :param limit: most requests a job takes.
    :param numbered_up_to: as many requests one worker of BigQuery numbers; more are divided by chance, on all workers.
    """

    requests: int
    limit: int
    numbered_up_to: int = 1_000_000

    @property
    def count(self) -> int:
        """Number of jobs."""
        if self._are_numbered or self.requests <= self.limit:
            return math.ceil(self.requests / self.limit)
        # Sizes scatter by the square root of their mean; six times that far off happens once in 500 million.
        mean = (math.sqrt(self.limit + 9) - 3) ** 2
        return math.ceil(self.requests / mean)

    @property
    def expression(self) -> str:
        """The number of a row's job, from 0, among the rows that are asked."""
        if self._are_numbered:
            return f"MOD(ROW_NUMBER() OVER (ORDER BY key_text), {self.count})"
        return f"ABS(MOD(FARM_FINGERPRINT(key_text), {self.count}))"

    @property
    def _are_numbered(self) -> bool:
        return self.requests <= self.numbered_up_to


def build_statement(
    request_rows: RequestRows,
    tables: Mapping[int, BigQueryAddress],
    sharding: Sharding,
    *,
    replace: Collection[BigQueryAddress] = (),
) -> Statement:
    """Return the statement, or script, that writes request tables.

    :param request_rows: the rows that are asked, and no others, as :meth:`.RequestRows.sorted_in` gives them.
    :param tables: the tables to write, by the number of the job from 0.
    :param replace: those of them to replace when they exist; other tables that exist are kept as they are.
    """
    parameters = Parameters()
    life = f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {DAYS_KEPT} DAY)"
    writes = {}
    for shard, table in tables.items():
        create = "CREATE OR REPLACE TABLE" if table in replace else "CREATE TABLE IF NOT EXISTS"
        writes[shard] = f"{create} {table.sql}\nOPTIONS (expiration_timestamp = {life})\nAS"
    columns = request_columns(request_rows.plan, parameters)
    return _writing(writes, columns, request_rows, parameters, sharding)


def export_statement(
    request_rows: RequestRows, patterns: Sequence[GcsAddress], sharding: Sharding
) -> Statement:
    """Return the statement, or script, that writes request files, each line an object of ``key`` and ``request``.

    :param request_rows: as for :func:`build_statement`.
    :param patterns: names of the files of each job, with one ``*`` for their numbers; nothing may be there.
    """
    parameters = Parameters()
    template = request_rows.plan.template
    writes = {
        shard: f"EXPORT DATA OPTIONS (uri = {orjson.dumps(str(pattern)).decode()}, format = 'JSON', "
        "overwrite = FALSE) AS"
        for shard, pattern in enumerate(patterns)
    }
    key = f"CONCAT('{KEY_BEFORE}', key_text, '{KEY_AFTER}')"
    columns = [(key, "key"), (field_value(template.fields, template, parameters), "request")]
    return _writing(writes, columns, request_rows, parameters, sharding)


def request_columns(plan: BuildPlan, parameters: Parameters) -> list[tuple[str, str]]:
    """Return the columns of a request table: expressions over the sorted rows, and names."""
    request = [("request", "request")]
    if plan.family.is_flat:
        fields = plan.template.fields.items()
        request = [(field_value(value, plan.template, parameters), name) for name, value in fields]
    return [
        *zip(key_names(plan), plan.key, strict=True),
        *request,
        ("fingerprint", FINGERPRINT_COLUMN),
    ]


def _writing(
    writes: Mapping[int, str],
    columns: Iterable[tuple[str, str]],
    request_rows: RequestRows,
    parameters: Parameters,
    sharding: Sharding,
) -> Statement:
    """Return what writes these columns, expressions and names, of the rows.

    :param writes: what stands before the query of each job's requests, by the job's number.

    For several jobs it is a script: the requests are made once, into a temporary table with a partition for each job.
    """
    selected = ",\n  ".join(f"{expression} AS {quoted(name)}" for expression, name in columns)
    if sharding.count > 1:
        selected += f",\n  {sharding.expression} AS {SHARD_COLUMN}"
    rows = f"WITH {request_clauses(request_rows, parameters)}\nSELECT\n  {selected}\nFROM fingerprinted"
    if sharding.count == 1:
        (write,) = writes.values()
        return Statement(f"{write}\n{rows}", parameters.values)
    parts = (
        f"{write}\nSELECT * EXCEPT ({SHARD_COLUMN}) FROM asked_rows WHERE {SHARD_COLUMN} = {shard}"
        for shard, write in writes.items()
    )
    partitions = f"PARTITION BY RANGE_BUCKET({SHARD_COLUMN}, GENERATE_ARRAY(0, {sharding.count}, 1))"
    sql = ";\n".join([f"CREATE TEMP TABLE asked_rows {partitions} AS\n{rows}", *parts])
    return Statement(sql, parameters.values)
