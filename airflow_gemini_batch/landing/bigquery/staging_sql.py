"""The statements that sort answers into a staging table, one row for each request.

Values of rows never leave BigQuery. What comes from outside (names of jobs, values that a schema allows) travels in
query parameters; names of columns are quoted, and stand in no clause but the one that reads their table, behind its
alias.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FINGERPRINT_COLUMN, QUESTION_COLUMN, TOKEN_COLUMNS
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.inputs import (
    NOTHING_COLLECTED,
    AnswerTable,
    Collected,
    RequestTable,
)
from airflow_gemini_batch.landing.plan import LandingPlan, staged_items, staging_columns
from airflow_gemini_batch.landing.schema_check_sql import (
    mismatch_expression,
    parsed_answer,
    value_expression,
)
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import (
    SAMPLE_LENGTH,
    error_text,
    failure_message,
    json_answer,
    outcome_case,
    read_answers,
    status_code,
)
from airflow_gemini_batch.outputs.matching_sql import best_first
from airflow_gemini_batch.requests.bigquery.expressions import ROWS, key_text, quoted
from airflow_gemini_batch.requests.spec import SHOWN_KEYS

_EXPIRES = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))"


def unfit_keys_statement(
    key: Sequence[str], key_types: Mapping[str, str], staging: BigQueryAddress
) -> Statement:
    """Return the statement that finds staged rows whose keys are NULL or occur more than once.

    Columns of the result: ``error`` (STRING: ``NULL`` or ``twice``), ``key_count`` (INT64) and ``sample_keys``.
    """
    aliases = key_aliases(key)
    absent = " OR ".join(f"{alias} IS NULL" for alias in aliases)
    types = {alias: key_types[name] for name, alias in zip(key, aliases, strict=True)}
    return Statement(f"""SELECT
  error,
  COUNT(*) AS key_count,
  ARRAY_AGG(key_text IGNORE NULLS ORDER BY key_text LIMIT {SHOWN_KEYS}) AS sample_keys
FROM (
  SELECT IF({absent}, 'NULL', 'twice') AS error, {key_text(aliases, types)} AS key_text
  FROM (SELECT {_named_keys(key)} FROM {staging.sql} AS {ROWS})
  GROUP BY {", ".join(aliases)}
  HAVING COUNT(*) > 1 OR {absent}
)
GROUP BY error
ORDER BY error""")


@dataclass(frozen=True, slots=True)
class InputRows:
    """How the tables of one family are read: queries for the rows of some tables, and the values they bind.

    :param requests: gives the query of :func:`request_rows`.
    :param answers: gives that of :func:`answer_rows`.
    """

    requests: Callable[[Sequence[RequestTable], Parameters], str]
    answers: Callable[[Sequence[AnswerTable], Parameters], str]

    def clauses(
        self,
        requests: Sequence[RequestTable],
        answers: Sequence[AnswerTable],
        collected: Collected,
        parameters: Parameters,
    ) -> tuple[str, str]:
        """Return the queries for all requests and for all answers."""
        return (
            _all_of(collected.requests) or self.requests(requests, parameters),
            _all_of(collected.answers) or self.answers(answers, parameters),
        )


def _all_of(tables: Sequence[BigQueryAddress]) -> str:
    return "\n  UNION ALL\n".join(f"  SELECT {ROWS}.* FROM {table.sql} AS {ROWS}" for table in tables)


def input_rows(
    plan: LandingPlan, requests: Sequence[RequestTable], _answers: Sequence[AnswerTable] = ()
) -> InputRows:
    """Return how the tables of generated content are read.

    :param requests: all tables of requests, of which some may be read at a time.
    """
    keys = key_aliases(plan.key)
    sent = sent_columns(requests)
    return InputRows(
        lambda tables, parameters: request_rows(plan, tables, parameters),
        lambda tables, parameters: answer_rows(
            plan, tables, parameters, sent, keys, lambda _: [_named_keys(plan.key)]
        ),
    )


def collecting_statement(rows: str, address: BigQueryAddress, parameters: Parameters) -> Statement:
    """Return the statement that writes the rows of a query to a table, which is replaced and expires after a day."""
    return Statement(f"CREATE OR REPLACE TABLE {address.sql}\n{_EXPIRES}\nAS\n{rows}", parameters.values)


def staging_statement(
    plan: LandingPlan,
    staging: BigQueryAddress,
    requests: Sequence[RequestTable],
    answers: Sequence[AnswerTable],
    collected: Collected = NOTHING_COLLECTED,
) -> Statement:
    """Return the statement that writes the staging table of generated content, with one row for each request."""
    parameters = Parameters()
    keys = key_aliases(plan.key)
    rows = input_rows(plan, requests)
    all_requests, all_answers = rows.clauses(requests, answers, collected, parameters)
    clauses = f"""requests AS (
{all_requests}
), answers AS (
{all_answers}
), {_checked_answers(plan, parameters)}"""
    values = {
        **{
            column.name: "best.answer" if plan.schema is None else value_expression(column, "best.answer")
            for column in plan.columns
        },
        "batch_model": "JSON_VALUE(best.response, '$.modelVersion')",
        "batch_finish_reason": "best.finish_reason",
        **{
            name: f"SAFE_CAST(JSON_VALUE(best.response, '$.usageMetadata.{field}') AS INT64)"
            for name, field in TOKEN_COLUMNS.items()
        },
        "batch_outcome": f"COALESCE(best.outcome, '{Outcome.MISSING}')",
        "batch_message": _message(),
    }
    ties = "TO_JSON_STRING(response)"
    sql = staging_table(plan, staging, requests[0].columns, clauses, keys, ties, values)
    return Statement(sql, parameters.values)


def staging_table(
    plan: LandingPlan,
    staging: BigQueryAddress,
    key_types: Mapping[str, str],
    clauses: str,
    identity: Sequence[str],
    ties: str,
    values: Mapping[str, str],
) -> str:
    """Return the statement that writes a staging table, which is replaced if it exists and expires after a day.

    :param clauses: of WITH. They give ``requests`` with the columns of :func:`request_rows`, and ``checked_answers``
        with ``job``, ``round``, ``answered_time``, ``outcome``, ``status_text`` and ``status_code``.
    :param identity: the columns that say to which request an answer belongs.
    :param ties: items of an ORDER BY that decide between answers of the same rank.
    :param values: expressions over ``requests`` and ``best``, the answer that counts, by column; those that all
        families share come on top.
    """
    order = best_first("outcome", round_="round", time="answered_time", ties=ties)
    shared = {
        **{name: f"requests.{alias}" for name, alias in zip(plan.key, key_aliases(plan.key), strict=True)},
        "batch_processed_time": "COALESCE(best.answered_time, requests.request_time)",
        "batch_job": "COALESCE(best.job, requests.last_job)",
        FINGERPRINT_COLUMN: "requests.fingerprint",
        QUESTION_COLUMN: "requests.question",
        "batch_code": "IF(best.status_text != '', best.status_code, NULL)",
        "batch_round": "COALESCE(best.round, requests.last_round)",
    }
    rows = f"""WITH {clauses}, best AS (
  SELECT *
  FROM checked_answers
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY {", ".join(identity)} ORDER BY {order}) = 1
)
SELECT
  {staged_items(plan, {**shared, **values}, quoted)}
FROM requests
LEFT JOIN best ON {" AND ".join(f"best.{name} = requests.{name}" for name in identity)}"""
    return filled_staging_table(plan, staging, key_types, rows)


def filled_staging_table(
    plan: LandingPlan, staging: BigQueryAddress, key_types: Mapping[str, str], rows: str
) -> str:
    """Return the statement that writes a staging table, which is replaced if it exists and expires after a day.

    :param rows: query for the rows, with the columns of :func:`.staging_columns` in their order.
    """
    columns = ",\n  ".join(
        f"{quoted(name)} {kind}" for name, kind in staging_columns(plan, key_types).items()
    )
    return f"CREATE OR REPLACE TABLE {staging.sql} (\n  {columns}\n)\n{_EXPIRES}\nAS\n{rows}"


def request_rows(
    plan: LandingPlan,
    requests: Sequence[RequestTable],
    parameters: Parameters,
    more: Callable[[RequestTable], Sequence[str]] = lambda _: (),
) -> str:
    """Return the query for all requests.

    Its columns are ``key_0``, ``key_1``, …, ``fingerprint``, ``question``, ``last_job``, ``last_round`` and
    ``request_time``.

    :param more: gives further items to select from a table.
    """
    selects = []
    for table in requests:
        fingerprint = "CAST(NULL AS STRING)"
        if FINGERPRINT_COLUMN in table.columns:
            fingerprint = f"{ROWS}.{quoted(FINGERPRINT_COLUMN)}"
        question = parameters.bind(table.question) if table.question else "CAST(NULL AS STRING)"
        further = ", ".join([f"TIMESTAMP({parameters.bind(table.created)}) AS request_time", *more(table)])
        selects.append(f"""  SELECT
    {_named_keys(plan.key)},
    {fingerprint} AS fingerprint,
    {question} AS question,
    {parameters.bind(table.last_job)} AS last_job,
    {table.last_round} AS last_round,
    {further}
  FROM {table.table.sql} AS {ROWS}""")
    return "\n  UNION ALL\n".join(selects)


def sent_columns(requests: Sequence[RequestTable]) -> set[str]:
    """Return the columns of all requests."""
    return {name for table in requests for name in table.columns}


def answer_rows(
    plan: LandingPlan,
    answers: Sequence[AnswerTable],
    parameters: Parameters,
    sent: Collection[str],
    identity: Sequence[str],
    items: Callable[[AnswerTable], Sequence[str]],
) -> str:
    """Return the query for all answers.

    Its columns are those of the identity, ``job``, ``model``, ``round``, ``answered_time``, ``status``, ``error_text``
    and ``response``, the family's answer column as JSON.

    :param sent: columns of the requests, which come back and say nothing of errors.
    :param items: gives the items of a SELECT from a table for the identity.
    """
    if not answers:
        return f"""  SELECT
    {", ".join(identity)}, '' AS job, '' AS model, 0 AS round, request_time AS answered_time, '' AS status,
    '' AS error_text, JSON 'null' AS response
  FROM requests
  WHERE FALSE"""
    selects = []
    for table in answers:
        time = f"TIMESTAMP({parameters.bind(table.created)})"
        if not plan.embeds and "processed_time" in table.columns:
            time = f"COALESCE(SAFE_CAST({ROWS}.processed_time AS TIMESTAMP), {time})"
        types = {name: kind for name, kind in table.columns.items() if name not in sent}
        selects.append(f"""  SELECT
    {", ".join(items(table))},
    {parameters.bind(table.job)} AS job,
    {parameters.bind(table.model)} AS model,
    {table.round} AS round,
    {time} AS answered_time,
    {ROWS}.status,
    {error_text(ROWS, types)} AS error_text,
    {json_answer(ROWS, plan.family, types)} AS response
  FROM {table.table.sql} AS {ROWS}""")
    return "\n  UNION ALL\n".join(selects)


def _checked_answers(plan: LandingPlan, parameters: Parameters) -> str:
    """Return the WITH clauses that sort the answers and read them; the last one is ``checked_answers``."""
    keys = ", ".join(key_aliases(plan.key))
    answer, mismatch = "answer_text", "CAST(NULL AS STRING)"
    if plan.schema is not None:
        good = f"first_outcome = '{Outcome.OK}'"
        answer = f"IF({good}, {parsed_answer('answer_text')}, NULL)"
        mismatch = mismatch_expression(plan.schema, "answer_text", "answer", parameters)
        mismatch = f"IF({good}, {mismatch}, NULL)"
    kept = f"{keys}, job, round, answered_time"
    return f"""{read_answers(kept, "answers", "status", "response", "error_text")}, read_answers AS (
  SELECT
    *,
    {status_code()} AS status_code,
    {outcome_case()} AS first_outcome,
    {failure_message()} AS failure_message
  FROM gemini_batch_told
), parsed_answers AS (
  SELECT
    *,
    {answer} AS answer
  FROM read_answers
), compared_answers AS (
  SELECT
    *,
    {mismatch} AS mismatch
  FROM parsed_answers
), checked_answers AS (
  SELECT
    * REPLACE (IF(mismatch IS NULL, answer, NULL) AS answer),
    IF(mismatch IS NULL, first_outcome, '{Outcome.INVALID}') AS outcome
  FROM compared_answers
)"""


def _message() -> str:
    """Return the CASE expression that says why a row failed."""
    return f"""CASE
    WHEN best.outcome IS NULL THEN 'the output has no row for the request'
    WHEN best.outcome = '{Outcome.OK}' THEN NULL
    WHEN best.mismatch IS NOT NULL THEN best.mismatch
    WHEN best.status_text != '' THEN SUBSTR(best.status_text, 1, {SAMPLE_LENGTH})
    ELSE best.failure_message
  END"""


def key_aliases(key: Sequence[str]) -> list[str]:
    """Return names for the key columns that nothing beside them has."""
    return [f"key_{index}" for index in range(len(key))]


def _named_keys(key: Sequence[str]) -> str:
    return ", ".join(
        f"{ROWS}.{quoted(name)} AS {alias}" for name, alias in zip(key, key_aliases(key), strict=True)
    )
