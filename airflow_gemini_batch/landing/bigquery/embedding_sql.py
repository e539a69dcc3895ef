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
from airflow_gemini_batch.outputs.classify_sql import (
    SAMPLE_LENGTH,
    status_case,
    status_code,
    vector_status_text,
)
from airflow_gemini_batch.outputs.embeddings import (
    AMBIGUOUS,
    DIMENSIONS,
    EMPTY,
    LONGEST,
    NO_NUMBER,
    NO_VECTOR,
    SHORTEST,
    ZERO,
)
from airflow_gemini_batch.requests.bigquery.expressions import ROWS

_READ = TEXT_EMBEDDING.read_columns
_EMBEDDINGS = "$[0].embeddings"


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
    """Return the statement that writes the staging table of vectors, with one row for each request.

    Vectors are checked as :func:`.fit_vector` does.
    """
    parameters = Parameters()
    returned = _returned(answers)
    identity = ("submission", *returned)
    rows = vector_rows(plan, requests, answers)
    request_clause, answer_clause = rows.clauses(requests, answers, collected, parameters)
    clauses = f"""all_requests AS (
{request_clause}
), requests AS (
  SELECT *, {_ambiguity(returned)} AS ambiguous
  FROM all_requests
), answers AS (
{answer_clause}
), {_checked_vectors(plan, identity)}"""
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


def _checked_vectors(plan: LandingPlan, identity: Sequence[str]) -> str:
    """Return the WITH clauses that sort the answers and measure their vectors; the last one is ``checked_answers``."""
    statistics = f"{_EMBEDDINGS}.statistics"
    silent = "IFNULL(JSON_TYPE(vector), 'null') = 'null'"
    kept = "" if plan.dimensions is None else f"WHERE item_index < {plan.dimensions}"
    wanted = "(SELECT dimensions FROM usual)" if plan.dimensions is None else str(plan.dimensions)
    misses = f"dimensions {'!=' if plan.dimensions is None else '<'} {wanted}"
    # A number of tokens is a whole one, which the service writes as 8, as 8.0 or as '8'.
    return f"""found_vectors AS (
  SELECT
    *,
    JSON_QUERY(response, '{_EMBEDDINGS}.values') AS vector,
    NULLIF(
      SAFE_CAST(SAFE_CAST(JSON_VALUE(response, '{statistics}.token_count') AS FLOAT64) AS INT64), 0
    ) AS token_count,
    SAFE_CAST(JSON_VALUE(response, '{statistics}.truncated') AS BOOL) AS truncated
  FROM answers
), read_answers AS (
  SELECT
    {", ".join(identity)}, job, model, round, answered_time, token_count,
    IFNULL(truncated, IF(token_count >= {MOST_TOKENS}, TRUE, NULL)) AS truncated,
    {vector_status_text("status", "error_text", "response", silent)} AS status_text,
    IFNULL(JSON_TYPE(vector), 'null') AS kind,
    IFNULL(ARRAY_LENGTH(JSON_QUERY_ARRAY(vector)), 0) AS dimensions,
    ARRAY(
      SELECT {_number("item")}
      FROM UNNEST(JSON_QUERY_ARRAY(vector)) AS item WITH OFFSET AS item_index
      {kept}
      ORDER BY item_index
    ) AS numbers
  FROM found_vectors
), measured_answers AS (
  SELECT
    *,
    (SELECT COUNTIF(number IS NULL) FROM UNNEST(numbers) AS number) AS odd_count,
    (SELECT SQRT(SUM(number * number)) FROM UNNEST(numbers) AS number) AS length
  FROM read_answers
), sorted_answers AS (
  SELECT
    *,
    {status_code()} AS status_code,
    CASE
      {status_case()}
      WHEN kind = 'null' THEN '{Outcome.MISSING}'
      WHEN dimensions = 0 OR odd_count > 0 OR NOT length BETWEEN {SHORTEST} AND {LONGEST} THEN '{Outcome.INVALID}'
      ELSE '{Outcome.OK}'
    END AS first_outcome
  FROM measured_answers
), usual AS (
  SELECT dimensions
  FROM sorted_answers
  WHERE first_outcome = '{Outcome.OK}'
  GROUP BY dimensions
  ORDER BY COUNT(*) DESC, dimensions DESC
  LIMIT 1
), checked_answers AS (
  SELECT
    *,
    IF(first_outcome = '{Outcome.OK}' AND {misses}, '{Outcome.INVALID}', first_outcome) AS outcome,
    {wanted} AS wanted
  FROM sorted_answers
)"""


def _number(item: str) -> str:
    """Return the expression for a number of a vector; NULL for anything else."""
    number = f"SAFE_CAST(JSON_VALUE({item}) AS FLOAT64)"
    return f"IF(JSON_TYPE({item}) = 'number' AND ABS({number}) < {LONGEST}, {number}, NULL)"


def _staged_values(plan: LandingPlan) -> dict[str, str]:
    """Return the expressions for the staging table's columns that are of vectors only."""
    shortened, vector = "FALSE", "best.numbers"
    if plan.dimensions is not None:
        shortened = f"best.dimensions > {plan.dimensions}"
        vector = f"""IF({shortened}, ARRAY(
    SELECT SAFE_DIVIDE(number, best.length)
    FROM UNNEST(best.numbers) AS number WITH OFFSET AS item_index
    ORDER BY item_index
  ), best.numbers)"""
    landed = {
        "values": vector,
        "token_count": "best.token_count",
        "truncated": "best.truncated",
        "dimensions": "ARRAY_LENGTH(best.numbers)",
    }
    good = f"best.outcome = '{Outcome.OK}' AND NOT requests.ambiguous"
    return {
        **{column.name: f"IF({good}, {landed[str(column.path)]}, NULL)" for column in plan.columns},
        "batch_model": "best.model",
        "batch_prompt_tokens": "best.token_count",
        "batch_outcome": (
            f"IF({good.replace('NOT ', '')}, '{Outcome.INVALID}', COALESCE(best.outcome, '{Outcome.MISSING}'))"
        ),
        "batch_message": _message(plan),
        "batch_shortened": f"IF({good}, {shortened}, NULL)",
    }


def _message(plan: LandingPlan) -> str:
    """Return the CASE expression that says why a row failed, as ``outputs.embeddings`` does."""
    standard = "of most" if plan.dimensions is None else "asked for"
    return f"""CASE
    WHEN best.outcome IS NULL THEN 'the output has no row for the request'
    WHEN best.outcome = '{Outcome.OK}' AND requests.ambiguous THEN '{AMBIGUOUS}'
    WHEN best.outcome = '{Outcome.OK}' THEN NULL
    WHEN best.status_text != '' THEN SUBSTR(best.status_text, 1, {SAMPLE_LENGTH})
    WHEN best.outcome = '{Outcome.MISSING}' THEN '{NO_VECTOR}'
    WHEN best.dimensions = 0 THEN '{EMPTY}'
    WHEN best.odd_count > 0 OR best.length > {LONGEST} THEN '{NO_NUMBER}'
    WHEN best.length < {SHORTEST} THEN '{ZERO}'
    ELSE CONCAT(
      'the vector has ', CAST(best.dimensions AS STRING), ' dimensions, not the ', CAST(best.wanted AS STRING),
      ' {standard}'
    )
  END"""
