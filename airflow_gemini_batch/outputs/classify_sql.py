"""The SQL twin of ``outputs.classify``: it sorts output rows into outcomes.

Columns of tables are qualified by an alias, since in GoogleSQL an alias hides a column of the same name.
"""

from __future__ import annotations

from typing import NamedTuple

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.outputs.classify import (
    BLOCKED_FINISH_REASONS,
    OK_STATUS_PATTERN,
    REJECTED_CODES,
    STATUS_CODE_PATTERN,
    Outcome,
)
from airflow_gemini_batch.outputs.embeddings import NO_VECTOR

SAMPLE_LENGTH = 300


def outcome_case() -> str:
    """Return the CASE expression that sorts one output row as ``outputs.classify.classify_row`` does.

    It reads what :func:`outcome_fields` selects.
    """
    blocked = ", ".join(f"'{reason}'" for reason in sorted(BLOCKED_FINISH_REASONS))
    return f"""CASE
      {status_case()}
      WHEN candidate IS NULL AND block_reason IS NOT NULL THEN '{Outcome.BLOCKED}'
      WHEN candidate IS NULL THEN '{Outcome.MISSING}'
      WHEN finish_reason = 'MAX_TOKENS' THEN '{Outcome.TRUNCATED}'
      WHEN finish_reason IN ({blocked}) THEN '{Outcome.BLOCKED}'
      WHEN finish_reason = 'STOP' AND part IS NOT NULL THEN '{Outcome.OK}'
      ELSE '{Outcome.RETRYABLE}'
    END"""


def outcome_fields(rows: str) -> str:
    """Return what :func:`outcome_case` reads, as items of a SELECT.

    :param rows: alias of rows with the columns ``status`` and ``response``.
    """
    response = f"{rows}.response"
    return f"""{status_fields(rows)},
    JSON_QUERY({response}, '$.candidates[0]') AS candidate,
    JSON_VALUE({response}, '$.candidates[0].finishReason') AS finish_reason,
    COALESCE(
      JSON_QUERY({response}, '$.candidates[0].content.parts[0]'),
      JSON_QUERY({response}, '$.candidates[0].content.parts.text')
    ) AS part,
    JSON_VALUE({response}, '$.promptFeedback.blockReason') AS block_reason"""


def status_fields(rows: str) -> str:
    """Return what a row's ``status`` says, as items of a SELECT: ``status_text``, empty for OK, and ``status_code``."""
    status = f"{rows}.status"
    return f"""IF(
      REGEXP_CONTAINS(TRIM({status}), r'^{OK_STATUS_PATTERN}$'), '', TRIM(IFNULL({status}, ''))
    ) AS status_text,
    SAFE_CAST(REGEXP_EXTRACT({status}, r'{STATUS_CODE_PATTERN}') AS INT64) AS status_code"""


def status_case() -> str:
    """Return the first branches of a CASE expression: how a row failed that has a ``status_text``."""
    rejected = ", ".join(map(str, sorted(REJECTED_CODES)))
    return f"""WHEN status_text != '' AND status_code IN ({rejected}) THEN '{Outcome.REJECTED}'
      WHEN status_text != '' THEN '{Outcome.RETRYABLE}'"""


OUTPUT = "gemini_batch_output"
"""Alias of an output table."""


def sorted_answers(table: BigQueryAddress, digest: str, family: ModelFamily) -> str:
    """Return the WITH clauses that end in ``gemini_batch_answers``: each output row's outcome, reason and digest.

    :param digest: expression over the columns of :data:`OUTPUT`.
    :param family: of the model that wrote the table.
    """
    answers = _ANSWERS[family]
    return f"""gemini_batch_rows AS (
  SELECT
    {answers.fields},
    {digest} AS digest
  FROM {table.sql} AS {OUTPUT}
), gemini_batch_answers AS (
  SELECT
    {answers.case} AS outcome,
    SUBSTR(COALESCE(NULLIF(status_text, ''), {answers.reasons}), 1, {SAMPLE_LENGTH}) AS reason,
    digest
  FROM gemini_batch_rows
)"""


class _AnswerSql(NamedTuple):
    """How the answers of a family are sorted.

    :param fields: items of a SELECT from :data:`OUTPUT`.
    :param case: the CASE expression that makes an outcome of them.
    :param reasons: what says why a row without an error status failed, the first that is not NULL.
    """

    fields: str
    case: str
    reasons: str


_ANSWERS = {
    GENERATE_CONTENT: _AnswerSql(
        outcome_fields(OUTPUT), outcome_case(), "block_reason, finish_reason, 'no response'"
    ),
    TEXT_EMBEDDING: _AnswerSql(
        f"""{status_fields(OUTPUT)},
    JSON_QUERY_ARRAY({OUTPUT}.predictions, '$[0].embeddings.values') IS NOT NULL AS has_vector""",
        f"""CASE
      {status_case()}
      WHEN NOT has_vector THEN '{Outcome.MISSING}'
      ELSE '{Outcome.OK}'
    END""",
        f"'{NO_VECTOR}'",
    ),
}


def tally_statement(table: BigQueryAddress, family: ModelFamily) -> str:
    """Return the statement that counts an output table's rows by outcome.

    Columns of the result: ``outcome`` (STRING), ``row_count`` (INT64), ``sample`` (STRING, the reason given by
    one of the rows; empty for good ones). Works for a ``response`` column of type JSON or STRING.

    :param family: of the model that wrote the table.
    """
    answers = sorted_answers(table, "''", family)
    return f"WITH {answers}\n{count_outcomes('gemini_batch_answers')}"


def count_outcomes(rows: str) -> str:
    """Return the query that counts rows by ``outcome``, with one ``reason`` each, as :func:`tally_statement` does."""
    return f"""SELECT
  outcome,
  COUNT(*) AS row_count,
  IF(outcome = '{Outcome.OK}', '', MIN(reason)) AS sample
FROM {rows}
GROUP BY outcome
ORDER BY outcome"""
