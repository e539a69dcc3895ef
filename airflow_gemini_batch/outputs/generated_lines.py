"""How the lines of output files with generated content are read: see :mod:`airflow_gemini_batch.outputs.lines`.

DuckDB knows a plain answer without searching for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.gcp.pieces import has_odd_text
from airflow_gemini_batch.outputs.classify_sql import read_answers
from airflow_gemini_batch.outputs.line_sql import (
    IDENTITY,
    RAW_ERROR,
    RAW_STATUS,
    READ,
    SENT,
    LineForm,
    identified,
    read_json,
    rewritten_lines,
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

# A row tells plainly how it ended: a failure in words, or its first candidate says a text and ended well, or it has one
# that ended otherwise.
_FAILED = "IFNULL(status >= 'A' AND status < '[', FALSE)"  # It begins with a capital letter.
_ANSWERED = f"(plain_text > ' ' OR len(fields.candidates) = 1 AND {_CANDIDATE}.finishReason != 'STOP')"
_TELLS = f"(error IS NULL AND ({_FAILED} OR IFNULL(status, '') = '' AND IFNULL({_ANSWERED}, FALSE)))"
_COLUMNS = {**dict.fromkeys(READ, "VARCHAR"), "response": _FIELDS}


def _plain_rows(paths: Sequence[Path]) -> str:
    """Return the query for the rows of files, with the columns of :func:`.read_answers`.

    A row is plain if it tells how it ended, and its key came back as it was sent.
    """
    return _plain(read_json(paths, _COLUMNS), "NULL::VARCHAR", "NULL::VARCHAR")


def _plain_rewritten_rows(path: Path) -> str:
    lines = read_json([path], {**_COLUMNS, "identity": IDENTITY})
    return _plain(lines, f"IF({_TELLS}, identity.digest, NULL)", "identity.bare_key")


def _plain(lines: str, digest: str, bare_key: str) -> str:
    return f"""SELECT
  source,
  IF({SENT} AND {_TELLS}, key, NULL) AS label,
  {digest} AS digest,
  {bare_key} AS bare_key,
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
  FROM (SELECT * RENAME (response AS fields) FROM {lines})
)"""


def _rewritten_rows(path: Path) -> str:
    kept = f"{identified(GENERATE_CONTENT)}, TRY_CAST(answer AS {_FIELDS}) AS fields"
    return f"""gemini_batch_lines AS (
  FROM {rewritten_lines(path, GENERATE_CONTENT, _FIELDS)}
), {read_answers(kept, "gemini_batch_lines", RAW_STATUS, "answer", RAW_ERROR, DUCKDB)}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""


GENERATED = LineForm(GENERATE_CONTENT, _plain_rows, _rewritten_rows, has_odd_text, _plain_rewritten_rows)
