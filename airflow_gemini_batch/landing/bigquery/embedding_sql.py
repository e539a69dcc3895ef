"""The statements that sort vectors into a staging table, one row for each request.

They read output tables of text-embedding models, with the columns ``content``, ``task_type`` and ``title`` where the
model read them, ``predictions`` and ``status``. The key does not come back, so a vector belongs to every request for
the same content.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import MOST_TOKENS, TEXT_EMBEDDING
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.inputs import (
    NOTHING_COLLECTED,
    AnswerTable,
    Collected,
    RequestTable,
)
from airflow_gemini_batch.landing.bigquery.staging_sql import (
    InputRows,
    answer_rows,
    request_rows,
    sent_columns,
    staging_table,
)
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.embeddings import AMBIGUOUS, DIMENSIONS
from airflow_gemini_batch.outputs.vectors_sql import (
    checked_vectors,
    fitted_numbers,
    is_shortened,
    of_one_length,
    read_vectors,
    usual_length,
)
from airflow_gemini_batch.requests.bigquery.expressions import ROWS

_READ = TEXT_EMBEDDING.read_columns


def vector_rows(
    plan: LandingPlan, requests: Sequence[RequestTable], answers: Sequence[AnswerTable]
) -> InputRows:
    """Return how the tables of a text-embedding model are read.

    :param requests: all tables of requests, like those of answers, of which some may be read at a time.
    """
    returned = _returned(answers)
    sent = sent_columns(requests)

    def content(
        table: RequestTable | AnswerTable, parameters: Parameters, names: Sequence[str] = _READ
    ) -> list[str]:
        # What the model read; an empty task type or title counts as none.
        return [
            f"{parameters.bind(table.submission)} AS submission",
            *(
                f"IFNULL({ROWS}.{name}, '') AS {name}" if name in table.columns else f"'' AS {name}"
                for name in names
            ),
        ]

    return InputRows(
        lambda tables, parameters: request_rows(
            plan, tables, parameters, lambda table: content(table, parameters)
        ),
        lambda tables, parameters: answer_rows(
            plan,
            tables,
            parameters,
            sent,
            ("submission", *returned),
            lambda table: content(table, parameters, returned),
        ),
    )


def _returned(answers: Sequence[AnswerTable]) -> list[str]:
    """Return what comes back, in all tables of answers, of what the model read."""
    return [name for name in _READ if all(name in table.columns for table in answers)]


def embedding_staging_statement(
    plan: LandingPlan,
    staging: BigQueryAddress,
    requests: Sequence[RequestTable],
    answers: Sequence[AnswerTable],
    collected: Collected = NOTHING_COLLECTED,
) -> Statement:
    """Return the statement that writes the staging table of vectors, with one row for each request."""
    parameters = Parameters()
    returned = _returned(answers)
    identity = ("submission", *returned)
    rows = vector_rows(plan, requests, answers)
    request_clause, answer_clause = rows.clauses(requests, answers, collected, parameters)
    kept = f"{', '.join(identity)}, job, model, round, answered_time"
    read = read_vectors(
        plan.family, kept, "answers", "status", "response", "error_text", MOST_TOKENS, plan.dimensions
    )
    last = "gemini_batch_judged"
    alike = ""
    if plan.dimensions is None:
        usual = "gemini_batch_usual"
        alike = f", {usual} AS (\n  {usual_length(last)}\n), {of_one_length(last, usual)}"
        last = "gemini_batch_alike"
    clauses = f"""all_requests AS (
{request_clause}
), requests AS (
  SELECT *, {_ambiguity(returned)} AS ambiguous
  FROM all_requests
), answers AS (
{answer_clause}
), {read}, {checked_vectors("gemini_batch_told", plan.dimensions)}{alike}, checked_answers AS (
  SELECT * FROM {last}
)"""
    ties = "TO_JSON_STRING(numbers), status_text"
    values = _staged_values(plan)
    sql = staging_table(plan, staging, requests[0].columns, clauses, identity, ties, values)
    return Statement(sql, parameters.values)


def shortened_statement(staging: BigQueryAddress) -> Statement:
    """Return the statement that counts the staged vectors that were cut."""
    return Statement(f"SELECT COUNTIF({ROWS}.batch_shortened) FROM {staging.sql} AS {ROWS}")


def other_length_statement(staging: BigQueryAddress, target: BigQueryAddress) -> Statement:
    """Return the statement that finds a vector in the target that is not as long as the staged ones.

    Columns of the result, which has one row or none: ``staged`` and ``landed``, the two lengths.
    """
    return Statement(f"""SELECT gemini_batch_staged.length AS staged, gemini_batch_target.{DIMENSIONS} AS landed
FROM (SELECT MAX({ROWS}.{DIMENSIONS}) AS length FROM {staging.sql} AS {ROWS}) AS gemini_batch_staged
JOIN {target.sql} AS gemini_batch_target ON gemini_batch_target.{DIMENSIONS} != gemini_batch_staged.length
LIMIT 1""")


def _ambiguity(returned: Sequence[str]) -> str:
    """Return the expression that says whether the output leaves open which of several vectors is a request's."""
    lost = [f"TO_JSON_STRING({name})" for name in _READ if name not in returned]
    if not lost:
        return "FALSE"
    read = f"CONCAT({', '.join(lost)})"
    alike = f"OVER (PARTITION BY {', '.join(('submission', *returned))})"
    return f"MIN({read}) {alike} != MAX({read}) {alike}"


def _staged_values(plan: LandingPlan) -> dict[str, str]:
    """Return the expressions for the staging table's columns that are of vectors only."""
    landed = {
        "values": fitted_numbers("best", plan.dimensions),
        "token_count": "best.token_count",
        "truncated": "best.truncated",
        "dimensions": "ARRAY_LENGTH(best.numbers)",
    }
    found = f"best.outcome = '{Outcome.OK}'"
    good = f"{found} AND NOT requests.ambiguous"
    return {
        **{column.name: f"IF({good}, {landed[str(column.path)]}, NULL)" for column in plan.columns},
        "batch_model": "best.model",
        "batch_prompt_tokens": "best.token_count",
        "batch_outcome": (
            f"IF({found} AND requests.ambiguous, '{Outcome.INVALID}', COALESCE(best.outcome, '{Outcome.MISSING}'))"
        ),
        "batch_message": f"""CASE
    WHEN best.outcome IS NULL THEN 'the output has no row for the request'
    WHEN {found} AND requests.ambiguous THEN '{AMBIGUOUS}'
    ELSE best.message
  END""",
        "batch_shortened": f"IF({good}, {is_shortened('best', plan.dimensions)}, NULL)",
    }
