"""How the lines of output files with generated content are read: see :mod:`airflow_gemini_batch.outputs.lines`.

DuckDB knows a plain answer without searching for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.outputs.classify_sql import read_answers
from airflow_gemini_batch.outputs.line_sql import (
    RAW_ERROR,
    RAW_STATUS,
    READ,
    SENT,
    LineForm,
    identified,
    identity,
    json_lines,
    read_json,
)
from airflow_gemini_batch.sql.dialect import DUCKDB

# What is read of a response. DuckDB gives NULL for what is of another type, and the text of what is to be a text.
_COUNTS = ", ".join(f"{name} BIGINT" for name in TOKEN_COLUMNS.values())
_FIELDS = f"""STRUCT(
  candidates STRUCT(
    content STRUCT(parts STRUCT(text VARCHAR, thought JSON)[]),
    finishReason VARCHAR,
    groundingMetadata STRUCT(webSearchQueries JSON[])
  )[],
  modelVersion VARCHAR,
  usageMetadata STRUCT({_COUNTS}, promptTokensDetails STRUCT(modality VARCHAR, tokenCount BIGINT)[])
)"""

_CANDIDATE = "fields.candidates[1]"
_PARTS = f"{_CANDIDATE}.content.parts"
_TEXT = f"""CASE
    WHEN {_CANDIDATE}.finishReason IS DISTINCT FROM 'STOP' THEN NULL
    WHEN len({_PARTS}) = 1 AND {_PARTS}[1].thought IS NULL THEN {_PARTS}[1].text
    ELSE array_to_string(
      list_transform(
        list_filter({_PARTS}, lambda part: IFNULL(part.thought::VARCHAR, '') NOT IN ('true', '"true"')),
        lambda part: part.text
      ), ''
    )
  END"""

# A row is plain if its key came back as it was sent, and it tells a failure in words, or its first candidate says a
# text and ended well, or it has one that ended otherwise.
_FAILED = "IFNULL(status >= 'A' AND status < '[', FALSE)"  # It begins with a capital letter.
_ANSWERED = f"(plain_text > ' ' OR len(fields.candidates) = 1 AND {_CANDIDATE}.finishReason != 'STOP')"
_PLAIN = f"""(
    {SENT} AND error IS NULL AND ({_FAILED} OR IFNULL(status, '') = '' AND IFNULL({_ANSWERED}, FALSE))
  )"""


def _plain_rows(paths: Sequence[Path]) -> str:
    """Return the query for the rows of files, with the columns of :func:`.read_answers`.

    Those that are not plain have no label.
    """
    columns = dict.fromkeys(READ, "VARCHAR")
    return f"""SELECT
  source,
  IF({_PLAIN}, key, NULL) AS label,
  NULL::VARCHAR AS digest,
  NULL::VARCHAR AS bare_key,
  processed_time,
  fields,
  NULL::JSON AS response,
  {_CANDIDATE} AS candidate,
  {_CANDIDATE}.finishReason AS finish_reason,
  IFNULL(plain_text, '') AS answer_text,
  NULL::VARCHAR AS other_part,
  NULL::VARCHAR AS block_reason,
  IF({_FAILED}, {DUCKDB.trimmed("status")}, '') AS status_text
FROM (
  SELECT *, {_TEXT} AS plain_text
  FROM (SELECT * RENAME (response AS fields) FROM {read_json(paths, {**columns, "response": _FIELDS})})
)"""


def _other_rows(paths: Sequence[Path], is_usual: bool) -> str:
    """Return the WITH clauses for rows of which DuckDB and Python tell together what they answer."""
    return _told(f"""SELECT *, {identity(GENERATE_CONTENT)} AS identity
  FROM (
    SELECT *, {_PLAIN} AS is_plain
    FROM (SELECT *, {_TEXT} AS plain_text FROM {json_lines(paths, GENERATE_CONTENT, _FIELDS)})
  )
  WHERE {"NOT is_plain" if is_usual else "TRUE"}""")


def _rewritten_rows(paths: Sequence[Path]) -> str:
    return _told(f"FROM {json_lines(paths, GENERATE_CONTENT, _FIELDS, rewritten=True)}")


def _told(rows: str) -> str:
    kept = f"{identified(GENERATE_CONTENT)}, TRY_CAST(answer AS {_FIELDS}) AS fields"
    return f"""gemini_batch_lines AS (
  {rows}
), {read_answers(kept, "gemini_batch_lines", RAW_STATUS, "answer", RAW_ERROR, DUCKDB)}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""


GENERATED = LineForm(GENERATE_CONTENT, _plain_rows, _rewritten_rows, _other_rows)
