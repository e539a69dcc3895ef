"""The SQL that we send: plain, documented GoogleSQL, built from addresses and constants only."""

from __future__ import annotations

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.responses import (
    BLOCKED_FINISH_REASONS,
    OK_STATUS_PATTERN,
    REJECTED_CODES,
    STATUS_CODE_PATTERN,
    Outcome,
)

SAMPLE_LENGTH = 300


def _outcome_case() -> str:
    """Return the CASE expression that sorts one output row as ``core.responses.classify_row`` does."""
    rejected = ", ".join(map(str, sorted(REJECTED_CODES)))
    blocked = ", ".join(f"'{reason}'" for reason in sorted(BLOCKED_FINISH_REASONS))
    return f"""CASE
      WHEN status_text != '' AND status_code IN ({rejected}) THEN '{Outcome.REJECTED}'
      WHEN status_text != '' THEN '{Outcome.RETRYABLE}'
      WHEN candidate IS NULL AND block_reason IS NOT NULL THEN '{Outcome.BLOCKED}'
      WHEN candidate IS NULL THEN '{Outcome.MISSING}'
      WHEN finish_reason = 'MAX_TOKENS' THEN '{Outcome.TRUNCATED}'
      WHEN finish_reason IN ({blocked}) THEN '{Outcome.BLOCKED}'
      WHEN finish_reason = 'STOP' AND part IS NOT NULL THEN '{Outcome.OK}'
      ELSE '{Outcome.RETRYABLE}'
    END"""


def tally_statement(table: BigQueryAddress) -> str:
    """Return the statement that counts an output table's rows by outcome.

    Columns of the result: ``outcome`` (STRING), ``row_count`` (INT64), ``sample`` (STRING, the reason given by
    one of the rows; empty for good ones). Works for a ``response`` column of type JSON or STRING.
    """
    return f"""WITH answers AS (
  SELECT
    IF(
      REGEXP_CONTAINS(TRIM(status), r'^{OK_STATUS_PATTERN}$'), '', TRIM(IFNULL(status, ''))
    ) AS status_text,
    SAFE_CAST(REGEXP_EXTRACT(status, r'{STATUS_CODE_PATTERN}') AS INT64) AS status_code,
    JSON_QUERY(response, '$.candidates[0]') AS candidate,
    JSON_VALUE(response, '$.candidates[0].finishReason') AS finish_reason,
    COALESCE(
      JSON_QUERY(response, '$.candidates[0].content.parts[0]'),
      JSON_QUERY(response, '$.candidates[0].content.parts.text')
    ) AS part,
    JSON_VALUE(response, '$.promptFeedback.blockReason') AS block_reason
  FROM {table.sql}
), sorted_answers AS (
  SELECT
    {_outcome_case()} AS outcome,
    SUBSTR(COALESCE(NULLIF(status_text, ''), block_reason, finish_reason, 'no response'), 1, {SAMPLE_LENGTH}) AS reason
  FROM answers
)
SELECT
  outcome,
  COUNT(*) AS row_count,
  IF(outcome = '{Outcome.OK}', '', MIN(reason)) AS sample
FROM sorted_answers
GROUP BY outcome
ORDER BY outcome"""
