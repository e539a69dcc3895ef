"""The SQL that sorts output rows into outcomes.

Columns of tables are qualified by an alias, since in GoogleSQL an alias hides a column of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_gemini_batch.core.model_families import ModelFamily
from airflow_gemini_batch.outputs.classify import (
    BLOCKED_FINISH_REASONS,
    ERROR_COLUMN,
    FINAL_PATTERN,
    OK_STATUS_PATTERN,
    OTHER_PARTS,
    REJECTED_CODES,
    STATUS_CODE_PATTERN,
    TRANSIENT_PATTERN,
    TRUNCATED_FINISH_REASONS,
    Outcome,
)
from airflow_gemini_batch.sql.dialect import BIGQUERY, Dialect

SAMPLE_LENGTH = 300

_PARTS = "$.content.parts"
_BLOCKED = ", ".join(f"'{reason}'" for reason in sorted(BLOCKED_FINISH_REASONS))


def status_code(sql: Dialect = BIGQUERY) -> str:
    """Return the expression for the code in a ``status_text``, see :func:`status_text`."""
    return sql.cast(sql.extract("status_text", STATUS_CODE_PATTERN), "INT64")


def read_answers(
    kept: str, source: str, status: str, response: str, error: str, sql: Dialect = BIGQUERY
) -> str:
    """Return the WITH clauses that read generated content; the last one is ``gemini_batch_told``.

    Its columns are ``response``, ``candidate`` (the one that counts: the first one that ended well and has a text,
    else the first one), ``finish_reason``, ``answer_text`` (without the model's thoughts), ``other_part`` (what an
    answer without text holds), ``block_reason`` and ``status_text`` (see :func:`status_text`).

    :param kept: items of a SELECT from the source that go along.
    :param source: what stands behind FROM.
    :param status: an expression over the source, as are the others.
    :param response: of type JSON.
    :param error: of type STRING, as :func:`error_text` gives it.
    """
    spoken = f"IFNULL({sql.json_value('part', '$.thought')}, 'false') != 'true'"
    # NULL in what is not text.
    text = f"IF({sql.json_is('part', '$.text', 'string')}, {sql.json_value('part', '$.text')}, NULL)"
    has_words = sql.has(sql.json_list("choice", _PARTS), "part", f"{spoken} AND {sql.has_words(text)}")
    good = sql.place(
        "candidates", "choice", f"{sql.json_value('choice', '$.finishReason')} = 'STOP' AND {has_words}"
    )
    counts = f"IFNULL({good}, 1)"
    parts = sql.json_list("candidate", _PARTS)

    def holds(field: str) -> str:
        return sql.has("parts", "part", f"{spoken} AND {sql.json_is('part', f'$.{field}', 'object')}")

    others = "\n      ".join(f"WHEN {holds(name)} THEN '{words}'" for name, words in OTHER_PARTS.items())
    told = status_text("row_status", "row_error", "response", "IFNULL(finish_reason, '') = ''", sql=sql)
    return f"""gemini_batch_found AS (
  SELECT {kept}, {response} AS response, {status} AS row_status, {error} AS row_error
  FROM {source}
), gemini_batch_listed AS (
  SELECT *, {sql.json_list("response", "$.candidates")} AS candidates
  FROM gemini_batch_found
), gemini_batch_chosen AS (
  SELECT
    {sql.without("candidates")},
    {sql.at("candidates", counts)} AS candidate
  FROM gemini_batch_listed
), gemini_batch_divided AS (
  SELECT
    {sql.without("candidate")},
    IF({sql.json_is("candidate", "$", "object")}, candidate, NULL) AS candidate,
    {sql.json_value("candidate", "$.finishReason")} AS finish_reason,
    {parts} AS parts
  FROM gemini_batch_chosen
), gemini_batch_heard AS (
  SELECT
    {sql.without("parts")},
    IFNULL({sql.joined("parts", "part", text, spoken)}, '') AS answer_text,
    CASE
      {others}
    END AS other_part,
    {sql.json_value("response", "$.promptFeedback.blockReason")} AS block_reason
  FROM gemini_batch_divided
), gemini_batch_told AS (
  SELECT *, {told} AS status_text
  FROM gemini_batch_heard
)"""


def outcome_case(sql: Dialect = BIGQUERY) -> str:
    """Return the CASE expression that makes an outcome of the columns of :func:`read_answers`."""
    truncated = ", ".join(f"'{reason}'" for reason in TRUNCATED_FINISH_REASONS)
    good = f"finish_reason = 'STOP' AND {sql.has_words('answer_text')}"
    # Nearly all rows are good ones.
    return f"""CASE
      WHEN status_text = '' AND {good} THEN '{Outcome.OK}'
      {status_case(sql)}
      WHEN candidate IS NULL AND block_reason IS NOT NULL THEN '{Outcome.BLOCKED}'
      WHEN candidate IS NULL THEN '{Outcome.MISSING}'
      WHEN finish_reason IN ({truncated}) THEN '{Outcome.TRUNCATED}'
      WHEN finish_reason IN ({_BLOCKED}) THEN '{Outcome.BLOCKED}'
      WHEN finish_reason = 'STOP' AND other_part IS NOT NULL THEN '{Outcome.INVALID}'
      ELSE '{Outcome.RETRYABLE}'
    END"""


def failure_message(sql: Dialect = BIGQUERY) -> str:
    """Return the CASE expression that says why a row without a ``status_text`` failed."""
    truncated = "\n    ".join(
        f"WHEN finish_reason = '{reason}' THEN '{message}'"
        for reason, message in TRUNCATED_FINISH_REASONS.items()
    )
    early = sql.concat(
        "'the model stopped early: finishReason is '", "IFNULL(NULLIF(finish_reason, ''), 'absent')"
    )
    return f"""CASE
    WHEN candidate IS NULL AND block_reason IS NOT NULL
      THEN {sql.concat("'the prompt was blocked: '", "block_reason")}
    WHEN candidate IS NULL AND IFNULL({sql.json_text("response")}, 'null') IN ('null', '{{}}')
      THEN 'the row has no response'
    WHEN candidate IS NULL THEN 'the response has no candidates'
    {truncated}
    WHEN finish_reason IN ({_BLOCKED}) THEN {sql.concat("'the answer was blocked: '", "finish_reason")}
    WHEN finish_reason = 'STOP' AND other_part IS NOT NULL
      THEN {sql.concat("'the answer holds '", "other_part", "' and no text'")}
    WHEN finish_reason = 'STOP' THEN 'the model stopped without an answer'
    ELSE {early}
  END"""


def status_case(sql: Dialect = BIGQUERY) -> str:
    """Return the first branches of a CASE expression: how a row failed that has a ``status_text``."""
    rejected = ", ".join(map(str, sorted(REJECTED_CODES)))
    final = f"({status_code(sql)} IN ({rejected}) OR {sql.contains('status_text', FINAL_PATTERN)})"
    passes = sql.contains("status_text", TRANSIENT_PATTERN)
    return f"""WHEN status_text != '' AND {final} AND NOT {passes} THEN '{Outcome.REJECTED}'
      WHEN status_text != '' THEN '{Outcome.RETRYABLE}'"""


def status_text(status: str, error: str, answer: str, silent: str, sql: Dialect = BIGQUERY) -> str:
    """Return the expression for what says how a row failed; empty for a row that is OK.

    :param status: an expression for the row's status.
    :param error: for what stands beside it, as text.
    :param answer: for the answer, of type JSON.
    :param silent: the condition that what stands elsewhere than in the status counts: ``error``, and ``error`` and
        ``status`` within the answer.
    """
    texts = [error, json_text(answer, "$.error", sql), json_text(answer, "$.status", sql)]
    elsewhere = ", ".join(failure_text(text, sql) for text in texts)
    return f"COALESCE({failure_text(status, sql)}, IF({silent}, COALESCE({elsewhere}), NULL), '')"


def failure_text(status: str, sql: Dialect) -> str:
    """Return the expression for the text of a status, which is text itself; NULL where it is empty or means OK."""
    text = sql.trimmed(status)
    return f"IF({sql.contains(text, f'^(?:{OK_STATUS_PATTERN})?$')}, NULL, {text})"


def json_text(value: str, path: str = "$", sql: Dialect = BIGQUERY) -> str:
    """Return the expression for what stands in a JSON value, as text; NULL, or ``null``, where nothing does."""
    return f"COALESCE({sql.json_value(value, path)}, {sql.json_text(sql.json_query(value, path))})"


def error_text(rows: str, types: Mapping[str, str]) -> str:
    """Return the expression for the text of the column that :data:`.ERROR_COLUMN` names; NULL where there is none.

    :param rows: alias of the table.
    :param types: of its columns, without those that a user has given.
    """
    kind, column = types.get(ERROR_COLUMN, ""), f"{rows}.`{ERROR_COLUMN}`"
    if kind == "JSON":
        return json_text(column)
    if kind.startswith(("STRUCT", "RECORD")):
        return f"TO_JSON_STRING({column})"
    return column if kind == "STRING" else "CAST(NULL AS STRING)"


def json_answer(rows: str, family: ModelFamily, types: Mapping[str, str]) -> str:
    """Return the expression of type JSON for the answers in an output table; parameters as of :func:`error_text`."""
    column = f"{rows}.{family.answer_column}"
    return BIGQUERY.parsed_json(column) if types.get(family.answer_column) == "STRING" else column
