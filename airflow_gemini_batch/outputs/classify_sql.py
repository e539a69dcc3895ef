"""The SQL that we send: plain, documented GoogleSQL, built from addresses and constants only."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.outputs.classify import (
    BLOCKED_FINISH_REASONS,
    OK_STATUS_PATTERN,
    REJECTED_CODES,
    STATUS_CODE_PATTERN,
    Outcome,
)
from airflow_gemini_batch.outputs.embeddings import NO_VECTOR

SAMPLE_LENGTH = 300

# Rows that count in no outcome.
DUPLICATE = "duplicate"
UNKNOWN = "unknown"

RETRIED = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.retried)
"""The outcomes that are worth another job, for an ``IN (…)``."""


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


def outcome_fields() -> str:
    """Return what :func:`outcome_case` reads, as items of a SELECT from columns ``status`` and ``response``."""
    return f"""{status_fields()},
    JSON_QUERY(response, '$.candidates[0]') AS candidate,
    JSON_VALUE(response, '$.candidates[0].finishReason') AS finish_reason,
    COALESCE(
      JSON_QUERY(response, '$.candidates[0].content.parts[0]'),
      JSON_QUERY(response, '$.candidates[0].content.parts.text')
    ) AS part,
    JSON_VALUE(response, '$.promptFeedback.blockReason') AS block_reason"""


def status_fields() -> str:
    """Return what a row's ``status`` says, as items of a SELECT: ``status_text``, empty for OK, and ``status_code``."""
    return f"""IF(
      REGEXP_CONTAINS(TRIM(status), r'^{OK_STATUS_PATTERN}$'), '', TRIM(IFNULL(status, ''))
    ) AS status_text,
    SAFE_CAST(REGEXP_EXTRACT(status, r'{STATUS_CODE_PATTERN}') AS INT64) AS status_code"""


def status_case() -> str:
    """Return the first branches of a CASE expression: how a row failed that has a ``status_text``."""
    rejected = ", ".join(map(str, sorted(REJECTED_CODES)))
    return f"""WHEN status_text != '' AND status_code IN ({rejected}) THEN '{Outcome.REJECTED}'
      WHEN status_text != '' THEN '{Outcome.RETRYABLE}'"""


def sorted_answers(table: BigQueryAddress, digest: str, *, vectors: bool = False) -> str:
    """Return the WITH clauses that give each output row its ``outcome``, ``reason`` and ``digest``.

    :param vectors: whether it is a table of a text-embedding model, with ``predictions`` instead of ``response``.
    """
    fields, case, reasons = outcome_fields(), outcome_case(), "block_reason, finish_reason, 'no response'"
    if vectors:
        fields, case, reasons = _vector_fields(), _vector_case(), f"'{NO_VECTOR}'"
    return f"""answers AS (
  SELECT
    {fields},
    {digest} AS digest
  FROM {table.sql}
), sorted_answers AS (
  SELECT
    {case} AS outcome,
    SUBSTR(COALESCE(NULLIF(status_text, ''), {reasons}), 1, {SAMPLE_LENGTH}) AS reason,
    digest
  FROM answers
)"""


def _vector_fields() -> str:
    return f"""{status_fields()},
    JSON_QUERY_ARRAY(predictions, '$[0].embeddings.values') IS NOT NULL AS has_vector"""


def _vector_case() -> str:
    return f"""CASE
      {status_case()}
      WHEN NOT has_vector THEN '{Outcome.MISSING}'
      ELSE '{Outcome.OK}'
    END"""


def tally_statement(table: BigQueryAddress, *, vectors: bool = False) -> str:
    """Return the statement that counts an output table's rows by outcome.

    Columns of the result: ``outcome`` (STRING), ``row_count`` (INT64), ``sample`` (STRING, the reason given by
    one of the rows; empty for good ones). Works for a ``response`` column of type JSON or STRING.

    :param vectors: see :func:`sorted_answers`.
    """
    return f"""WITH {sorted_answers(table, "''", vectors=vectors)}
SELECT
  outcome,
  COUNT(*) AS row_count,
  IF(outcome = '{Outcome.OK}', '', MIN(reason)) AS sample
FROM sorted_answers
GROUP BY outcome
ORDER BY outcome"""


def account_statement(
    table: BigQueryAddress, source: BigQueryAddress, columns: Sequence[str], *, vectors: bool = False
) -> str:
    """Return the statement that counts an output table's rows by the requests of its source table.

    Columns as in :func:`tally_statement`; ``outcome`` is also ``duplicate``, for rows beyond those asked for
    (of several, a good one counts, else one whose failure is final), and ``unknown``, for rows that nobody asked
    for.

    :param columns: what tells requests apart in both tables.
    :param vectors: see :func:`sorted_answers`.
    """
    digest = digest_of(columns, blank_is_null=vectors)
    return f"""WITH asked AS (
  SELECT {digest} AS digest, COUNT(*) AS request_count FROM {source.sql} GROUP BY 1
), {sorted_answers(table, digest, vectors=vectors)}, ranked AS (
  SELECT
    outcome,
    reason,
    digest,
    ROW_NUMBER() OVER (
      PARTITION BY digest
      ORDER BY CASE WHEN outcome = '{Outcome.OK}' THEN 0 WHEN outcome IN ({RETRIED}) THEN 2 ELSE 1 END
    ) AS place
  FROM sorted_answers
), accounted AS (
  SELECT
    CASE
      WHEN asked.request_count IS NULL THEN '{UNKNOWN}'
      WHEN ranked.place > asked.request_count THEN '{DUPLICATE}'
      ELSE ranked.outcome
    END AS outcome,
    ranked.reason AS reason
  FROM ranked
  LEFT JOIN asked ON asked.digest = ranked.digest
)
SELECT
  outcome,
  COUNT(*) AS row_count,
  IF(outcome = '{Outcome.OK}', '', MIN(reason)) AS sample
FROM accounted
GROUP BY outcome
ORDER BY outcome"""


def digest_of(columns: Sequence[str], *, blank_is_null: bool = False) -> str:
    """Return the expression for a digest of these columns, as hexadecimal text.

    :param blank_is_null: let an empty text count as none; all columns are texts then.
    """
    values = [f"NULLIF(`{column}`, '')" if blank_is_null else f"`{column}`" for column in columns]
    # As JSON text, so that a NULL differs from an empty string and a separator within a value does no harm.
    texts = ", '|', ".join(f"COALESCE(TO_JSON_STRING({value}), 'null')" for value in values)
    return f"TO_HEX(SHA256(CONCAT({texts})))"
