"""The statements that sort vectors into a staging table, one row for each request.

They read output tables of text-embedding models, with the columns ``content``, ``task_type`` and ``title`` where the
model read them, ``predictions`` and ``status``. The key does not come back, so a vector belongs to every request for
the same content.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN
from airflow_gemini_batch.core.model_families import TEXT_EMBEDDING
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.schema_check_sql import parsed_json
from airflow_gemini_batch.landing.bigquery.staging_sql import (
    ROWS,
    AnswerTable,
    RequestTable,
    key_aliases,
    new_staging_table,
    request_rows,
)
from airflow_gemini_batch.landing.plan import LandingPlan, staged_items
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH, status_case, status_fields
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
from airflow_gemini_batch.outputs.matching_sql import best_first
from airflow_gemini_batch.requests.bigquery.expressions import quoted

_READ = TEXT_EMBEDDING.read_columns
_EMBEDDINGS = "$[0].embeddings"


def embedding_staging_statement(
    plan: LandingPlan,
    staging: BigQueryAddress,
    requests: Sequence[RequestTable],
    answers: Sequence[AnswerTable],
) -> Statement:
    """Return the statement that writes the staging table of vectors, with one row for each request.

    Vectors are checked as :func:`.fit_vector` does.
    """
    parameters = Parameters()
    returned = [name for name in _READ if all(name in table.columns for table in answers)]

    def content(table: RequestTable) -> list[str]:
        return [f"{parameters.bind(table.submission)} AS submission", *_content(table, _READ)]

    return Statement(
        f"""{new_staging_table(plan, staging, requests[0].columns)}
WITH all_requests AS (
{request_rows(plan, requests, parameters, content)}
), requests AS (
  SELECT *, {_ambiguity(returned)} AS ambiguous
  FROM all_requests
), answers AS (
{_answers(answers, returned, parameters)}
), {_best_vectors(plan, returned)}
{_staged_vectors(plan, returned)}""",
        parameters.values,
    )


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


def _content(table: RequestTable | AnswerTable, names: Sequence[str]) -> list[str]:
    """Return items of a SELECT for what the model read; an empty task type or title counts as none."""
    return [
        f"IFNULL({ROWS}.{name}, '') AS {name}" if name in table.columns else f"'' AS {name}" for name in names
    ]


def _ambiguity(returned: Sequence[str]) -> str:
    """Return the expression that says whether the output leaves open which of several vectors is a request's."""
    lost = [f"TO_JSON_STRING({name})" for name in _READ if name not in returned]
    if not lost:
        return "FALSE"
    read = f"CONCAT({', '.join(lost)})"
    alike = f"OVER (PARTITION BY {', '.join(('submission', *returned))})"
    return f"MIN({read}) {alike} != MAX({read}) {alike}"


def _answers(answers: Sequence[AnswerTable], returned: Sequence[str], parameters: Parameters) -> str:
    if not answers:
        return f"""  SELECT
    submission, {", ".join(returned)}, '' AS job, '' AS model, 0 AS round, request_time AS answered_time, '' AS status,
    JSON 'null' AS vector, 0 AS token_count, FALSE AS truncated
  FROM all_requests
  WHERE FALSE"""
    selects = []
    for table in answers:
        predictions = f"{ROWS}.predictions"
        if table.columns["predictions"] != "JSON":
            predictions = parsed_json(predictions)
        selects.append(f"""  SELECT
    {parameters.bind(table.submission)} AS submission,
    {", ".join(_content(table, returned))},
    {parameters.bind(table.job)} AS job,
    {parameters.bind(table.model)} AS model,
    {table.round} AS round,
    TIMESTAMP({parameters.bind(table.created)}) AS answered_time,
    {ROWS}.status,
    JSON_QUERY({predictions}, '{_EMBEDDINGS}.values') AS vector,
    {_token_count(predictions, f"{_EMBEDDINGS}.statistics.token_count")} AS token_count,
    {_truncated(predictions, f"{_EMBEDDINGS}.statistics.truncated")} AS truncated
  FROM {table.table.sql} AS {ROWS}""")
    return "\n  UNION ALL\n".join(selects)


def _token_count(content: str, path: str) -> str:
    """Return the expression for a number of tokens, NULL if there is none."""
    # A whole number, which the service writes as 8, as 8.0 or as '8'.
    return f"NULLIF(SAFE_CAST(SAFE_CAST(JSON_VALUE({content}, '{path}') AS FLOAT64) AS INT64), 0)"


def _truncated(content: str, path: str) -> str:
    """Return the expression that says whether a text has lost its end, NULL if the row does not say."""
    return f"SAFE_CAST(JSON_VALUE({content}, '{path}') AS BOOL)"


def _best_vectors(plan: LandingPlan, returned: Sequence[str]) -> str:
    """Return the WITH clauses that sort the answers, measure their vectors, and leave one for each request.

    They read ``answers``, with the columns ``submission``, ``job``, ``model``, ``round``, ``answered_time``,
    ``status``, ``vector`` (JSON), ``token_count`` (INT64) and ``truncated`` (BOOL); the last one is ``best``.

    :param returned: columns of the answers that, with the submission, identify their request.
    """
    content = ", ".join(("submission", *returned))
    kept = "" if plan.dimensions is None else f"WHERE item_index < {plan.dimensions}"
    ties = "TO_JSON_STRING(numbers), status_text"
    wanted = "(SELECT dimensions FROM usual)" if plan.dimensions is None else str(plan.dimensions)
    return f"""read_answers AS (
  SELECT
    {content}, job, model, round, answered_time, token_count, truncated,
    {status_fields("answers")},
    IFNULL(JSON_TYPE(vector), 'null') AS kind,
    IFNULL(ARRAY_LENGTH(JSON_QUERY_ARRAY(vector)), 0) AS dimensions,
    ARRAY(
      SELECT {_number("item")}
      FROM UNNEST(JSON_QUERY_ARRAY(vector)) AS item WITH OFFSET AS item_index
      {kept}
      ORDER BY item_index
    ) AS numbers
  FROM answers
), measured_answers AS (
  SELECT
    *,
    (SELECT COUNTIF(number IS NULL) FROM UNNEST(numbers) AS number) AS odd_count,
    (SELECT SQRT(SUM(number * number)) FROM UNNEST(numbers) AS number) AS length
  FROM read_answers
), sorted_answers AS (
  SELECT
    *,
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
    IF(first_outcome = '{Outcome.OK}' AND {_misses(plan, wanted)}, '{Outcome.INVALID}', first_outcome) AS outcome,
    {wanted} AS wanted
  FROM sorted_answers
), best AS (
  SELECT *
  FROM checked_answers
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY {content} ORDER BY {best_first("outcome", round_="round", time="answered_time", ties=ties)}
  ) = 1
)"""


def _misses(plan: LandingPlan, wanted: str) -> str:
    return f"dimensions {'!=' if plan.dimensions is None else '<'} {wanted}"


def _number(item: str) -> str:
    """Return the expression for a number of a vector; NULL for anything else."""
    number = f"SAFE_CAST(JSON_VALUE({item}) AS FLOAT64)"
    return f"IF(JSON_TYPE({item}) = 'number' AND ABS({number}) < {LONGEST}, {number}, NULL)"


def _staged_vectors(plan: LandingPlan, returned: Sequence[str]) -> str:
    """Return the query for the staging table's rows.

    It reads ``best`` of :func:`best_vectors`, and ``requests`` with the columns of :func:`.request_rows`,
    ``submission``, those that are returned, and ``ambiguous`` (BOOL).
    """
    same = " AND ".join(f"best.{name} = requests.{name}" for name in ("submission", *returned))
    return f"""SELECT
  {_staged_values(plan)}
FROM requests
LEFT JOIN best ON {same}"""


def _staged_values(plan: LandingPlan) -> str:
    """Return the SELECT's items, in the order of the staging table's columns."""
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
    values = {
        **{name: f"requests.{alias}" for name, alias in zip(plan.key, key_aliases(plan.key), strict=True)},
        **{column.name: f"IF({good}, {landed[str(column.path)]}, NULL)" for column in plan.columns},
        "batch_model": "best.model",
        "batch_prompt_tokens": "best.token_count",
        "batch_processed_time": "COALESCE(best.answered_time, requests.request_time)",
        "batch_job": "COALESCE(best.job, requests.last_job)",
        FINGERPRINT_COLUMN: "requests.fingerprint",
        "batch_outcome": (
            f"IF({good.replace('NOT ', '')}, '{Outcome.INVALID}', COALESCE(best.outcome, '{Outcome.MISSING}'))"
        ),
        "batch_code": "IF(best.status_text != '', best.status_code, NULL)",
        "batch_message": _message(plan),
        "batch_round": "COALESCE(best.round, requests.last_round)",
        "batch_shortened": f"IF({good}, {shortened}, NULL)",
    }
    return staged_items(plan, values, quoted)


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
