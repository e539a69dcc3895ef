"""The SQL that sorts output rows into outcomes, as ``outputs.classify`` does, and says which of several counts.

Columns of tables are qualified by an alias, since in GoogleSQL an alias hides a column of the same name.
"""

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

_RETRIED = ", ".join(f"'{outcome}'" for outcome in Outcome if outcome.retried)


def best_first(outcome: str, *, round_: str = "", time: str = "", ties: str = "") -> str:
    """Return the items of an ORDER BY that put the answer that counts first, for BigQuery and DuckDB.

    The twin of :func:`airflow_gemini_batch.outputs.matching.answer_rank`, which states the rule.

    :param outcome: an expression, as are the others.
    :param round_: number of the job; left out where all rows are of one job.
    :param time: when the answer came; left out where no row says.
    :param ties: further items, so that the same row wins in every run.
    """
    items = [
        f"CASE WHEN {outcome} = '{Outcome.OK}' THEN 0 ELSE 1 END",
        f"{round_} DESC" if round_ else "",
        f"CASE WHEN {is_final(outcome)} THEN 0 ELSE 1 END",
        f"{time} DESC" if time else "",
        ties,
    ]
    return ", ".join(filter(None, items))


def is_final(outcome: str) -> str:
    """Return the condition that a row needs no other job, for BigQuery and DuckDB."""
    return f"{outcome} NOT IN ({_RETRIED})"


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


def sorted_answers(table: BigQueryAddress, digest: str, *, vectors: bool = False) -> str:
    """Return the WITH clauses that end in ``gemini_batch_answers``: each output row's outcome, reason and digest.

    :param digest: expression over the columns of :data:`OUTPUT`.
    :param vectors: whether it is a table of a text-embedding model, with ``predictions`` instead of ``response``.
    """
    fields, case = outcome_fields(OUTPUT), outcome_case()
    reasons = "block_reason, finish_reason, 'no response'"
    if vectors:
        has_vector = f"JSON_QUERY_ARRAY({OUTPUT}.predictions, '$[0].embeddings.values') IS NOT NULL"
        fields, reasons = f"{status_fields(OUTPUT)},\n    {has_vector} AS has_vector", f"'{NO_VECTOR}'"
        case = f"""CASE
      {status_case()}
      WHEN NOT has_vector THEN '{Outcome.MISSING}'
      ELSE '{Outcome.OK}'
    END"""
    return f"""gemini_batch_rows AS (
  SELECT
    {fields},
    {digest} AS digest
  FROM {table.sql} AS {OUTPUT}
), gemini_batch_answers AS (
  SELECT
    {case} AS outcome,
    SUBSTR(COALESCE(NULLIF(status_text, ''), {reasons}), 1, {SAMPLE_LENGTH}) AS reason,
    digest
  FROM gemini_batch_rows
)"""


def tally_statement(table: BigQueryAddress, *, vectors: bool = False) -> str:
    """Return the statement that counts an output table's rows by outcome.

    Columns of the result: ``outcome`` (STRING), ``row_count`` (INT64), ``sample`` (STRING, the reason given by
    one of the rows; empty for good ones). Works for a ``response`` column of type JSON or STRING.

    :param vectors: see :func:`sorted_answers`.
    """
    answers = sorted_answers(table, "''", vectors=vectors)
    return f"WITH {answers}\n{_counts('gemini_batch_answers')}"


def account_statement(
    table: BigQueryAddress, source: BigQueryAddress, columns: Sequence[str], *, vectors: bool = False
) -> str:
    """Return the statement that counts an output table's rows by the requests of its source table.

    Columns as in :func:`tally_statement`; ``outcome`` is also ``duplicate``, for rows beyond the requests (which of
    several count, :func:`best_first` says), and ``unknown``, for rows that answer no request.

    :param columns: what distinguishes requests in both tables.
    :param vectors: see :func:`sorted_answers`.
    """
    asked = digest_of("gemini_batch_source", columns, blank_is_null=vectors)
    answered = digest_of(OUTPUT, columns, blank_is_null=vectors)
    return f"""WITH gemini_batch_requests AS (
  SELECT {asked} AS digest, COUNT(*) AS request_count FROM {source.sql} AS gemini_batch_source GROUP BY 1
), {sorted_answers(table, answered, vectors=vectors)}, gemini_batch_ranked AS (
  SELECT
    outcome,
    reason,
    digest,
    ROW_NUMBER() OVER (PARTITION BY digest ORDER BY {best_first("outcome")}) AS answer_rank
  FROM gemini_batch_answers
), gemini_batch_matched AS (
  SELECT
    CASE
      WHEN requests.request_count IS NULL THEN '{UNKNOWN}'
      WHEN ranked.answer_rank > requests.request_count THEN '{DUPLICATE}'
      ELSE ranked.outcome
    END AS outcome,
    ranked.reason AS reason
  FROM gemini_batch_ranked AS ranked
  LEFT JOIN gemini_batch_requests AS requests ON requests.digest = ranked.digest
)
{_counts("gemini_batch_matched")}"""


def _counts(rows: str) -> str:
    return f"""SELECT
  outcome,
  COUNT(*) AS row_count,
  IF(outcome = '{Outcome.OK}', '', MIN(reason)) AS sample
FROM {rows}
GROUP BY outcome
ORDER BY outcome"""


def digest_of(rows: str, columns: Sequence[str], *, blank_is_null: bool = False) -> str:
    """Return the expression for a digest of these columns, as hexadecimal text.

    :param rows: alias of the table.
    :param blank_is_null: let an empty text count as none; all columns are texts then.
    """
    values = [f"{rows}.`{column}`" for column in columns]
    if blank_is_null:
        values = [f"NULLIF({value}, '')" for value in values]
    # As JSON text, so that a NULL differs from an empty string and a separator within a value does no harm.
    texts = ", '|', ".join(f"COALESCE(TO_JSON_STRING({value}), 'null')" for value in values)
    return f"TO_HEX(SHA256(CONCAT({texts})))"
