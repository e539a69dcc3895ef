"""Requests and answers of more jobs than one statement can read: collected in a few tables first.

What is collected is read by the same statement as the tables themselves, so which answer counts does not depend on how
the tables were divided. Each table of rows is replaced as a whole, so a landing that died half-way is simply repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.gcp.portions import DEFAULT_LIMITS, StatementLimits, portions
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.embedding_sql import embedding_staging_statement, vector_rows
from airflow_gemini_batch.landing.bigquery.inputs import AnswerTable, Collected, RequestTable
from airflow_gemini_batch.landing.bigquery.staging_sql import (
    InputRows,
    collecting_statement,
    input_rows,
    staging_statement,
)
from airflow_gemini_batch.landing.plan import LandingPlan

Table = TypeVar("Table", RequestTable, AnswerTable)


class _FamilySql(NamedTuple):
    """How the answers of a family are read and staged."""

    rows: Callable[[LandingPlan, Sequence[RequestTable], Sequence[AnswerTable]], InputRows]
    staging: Callable[..., Statement]


_FAMILIES = {
    GENERATE_CONTENT: _FamilySql(input_rows, staging_statement),
    TEXT_EMBEDDING: _FamilySql(vector_rows, embedding_staging_statement),
}


class StagingScript(NamedTuple):
    """What writes a staging table.

    :param statements: to be run one after the other, each within the limits; the last one writes the staging table.
    :param tables: tables that the others write, to be dropped afterwards.
    """

    statements: Sequence[Statement]
    tables: Sequence[BigQueryAddress]


def staging_script(
    plan: LandingPlan,
    staging: BigQueryAddress,
    requests: Sequence[RequestTable],
    answers: Sequence[AnswerTable],
    limits: StatementLimits = DEFAULT_LIMITS,
) -> StagingScript:
    """Return what writes the staging table of answers: one statement, or several where one would be too large."""
    family = _FAMILIES[plan.family]
    statement = family.staging(plan, staging, requests, answers)
    if limits.allow(statement, len(requests) + len(answers)):
        return StagingScript([statement], ())
    rows = family.rows(plan, requests, answers)
    asked = _collected(requests, rows.requests, staging, "requests", limits)
    came = _collected(answers, rows.answers, staging, "answers", limits)
    last = family.staging(plan, staging, requests, answers, Collected(asked.tables, came.tables))
    return StagingScript([*asked.statements, *came.statements, last], [*asked.tables, *came.tables])


def _collected(
    tables: Sequence[Table],
    rows: Callable[[Sequence[Table], Parameters], str],
    staging: BigQueryAddress,
    what: str,
    limits: StatementLimits,
) -> StagingScript:
    def collecting(some: Sequence[Table], address: BigQueryAddress = staging) -> Statement:
        parameters = Parameters()
        return collecting_statement(rows(some, parameters), address, parameters)

    parts = list(portions(tables, collecting, limits))
    addresses = [staging.with_table(f"{staging.table}_{what}_{number}") for number in range(len(parts))]
    return StagingScript(list(map(collecting, parts, addresses)), addresses)
