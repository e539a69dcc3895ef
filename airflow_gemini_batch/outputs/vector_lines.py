"""How the lines of output files with vectors are read: see :mod:`airflow_gemini_batch.outputs.lines`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    MOST_TOKENS,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.outputs.classify_sql import failure_text
from airflow_gemini_batch.outputs.line_sql import (
    RAW_ERROR,
    RAW_STATUS,
    LineForm,
    identified,
    identity,
    read_json,
    rewritten_lines,
)
from airflow_gemini_batch.outputs.vectors_sql import read_vectors, token_count, truncated
from airflow_gemini_batch.sql.dialect import DUCKDB

# What is read of a plain answer. Where there are more of them the first one counts.
_EMBEDDING = 'STRUCT("values" DOUBLE[], statistics JSON, truncated JSON)'


class _PlainForm(NamedTuple):
    """Where a plain answer has its vector: see :class:`airflow_gemini_batch.outputs.vectors_sql.VectorForm`.

    :param fields: the type of the answer.
    :param embedding: the expression for the object with the numbers.
    :param tokens: of the answer, and of the object.
    :param flag: of the answer.
    """

    fields: str
    embedding: str
    tokens: tuple[tuple[str, str], ...]
    flag: str


_PLAIN_FORMS: Mapping[ModelFamily, _PlainForm] = {
    TEXT_EMBEDDING: _PlainForm(
        f"STRUCT(embeddings {_EMBEDDING}, truncated JSON)[]",
        "fields[1].embeddings",
        (("embedding.statistics", "$.token_count"),),
        "fields[1].truncated",
    ),
    GEMINI_EMBEDDING: _PlainForm(
        f"""STRUCT(
  tokenCount JSON, usageMetadata JSON, truncated JSON, embedding {_EMBEDDING}, embeddings {_EMBEDDING}[]
)""",
        # Of rows that are all alike nothing is copied.
        """CASE
    WHEN fields.embeddings IS NULL THEN fields.embedding ELSE COALESCE(fields.embedding, fields.embeddings[1])
  END""",
        (("fields.tokenCount", "$"), ("fields.usageMetadata", "$.promptTokenCount")),
        "fields.truncated",
    ),
}

# A row is plain if its status tells a failure, or it has numbers and tells no failure.
_TOLD = f"""CASE
    WHEN raw_status IS NULL OR raw_status IN ('""', 'null') THEN ''
    ELSE IFNULL({failure_text(RAW_STATUS, DUCKDB)}, '')
  END"""
_PLAIN = "(error IS NULL AND (status_text != '' OR IFNULL(len(numbers), 0) > 0))"


def vector_lines(family: ModelFamily, limit: int = MOST_TOKENS, most: int | None = None) -> LineForm:
    """Return how the lines of a family are read, with the columns of :func:`.read_vectors`.

    :param limit: as of :func:`.read_vectors`, like ``most``.
    """
    plain = _PLAIN_FORMS[family]

    def plain_rows(paths: Sequence[Path]) -> str:
        answer, json = family.answer_column, ("key", "status", family.asked)
        columns = {**dict.fromkeys(json, "JSON"), "error": "VARCHAR", "processed_time": "VARCHAR"}
        # A slice takes a third of the time of reading the numbers, also where it is all of them.
        cut = "" if most is None else f", IF(len(numbers) > {most}, numbers[:{most}], numbers) AS numbers"
        flags = (("embedding.statistics", "$.truncated"), ("embedding.truncated", "$"), (plain.flag, "$"))
        return f"""SELECT
  {identified(family)},
  status_text,
  token_count,
  {truncated(flags, limit, DUCKDB)} AS truncated,
  numbers IS NOT NULL AS has_vector,
  dimensions,
  numbers,
  -- None of them is NULL; this takes a fourth of the time of the general rule.
  sqrt(list_dot_product(numbers, numbers)) AS length
FROM (
  SELECT
    * REPLACE (IF({_PLAIN}, key, NULL) AS key{cut}),
    len(numbers) AS dimensions,
    {token_count(plain.tokens, DUCKDB)} AS token_count,
    CASE WHEN {_PLAIN} THEN {identity(family)} END AS identity
  FROM (
    SELECT *, json_extract_string(raw_key, '$') AS key, {_TOLD} AS status_text, embedding."values" AS numbers
    FROM (
      SELECT *, {plain.embedding} AS embedding
      FROM (
        SELECT * RENAME (
          {answer} AS fields, {family.asked} AS asked, key AS raw_key, status AS raw_status
        )
        FROM {read_json(paths, {**columns, answer: plain.fields})}
      )
    )
  )
)"""

    def rewritten_rows(path: Path) -> str:
        lines = f"FROM {rewritten_lines(path, family, plain.fields)}"
        read = read_vectors(
            family,
            identified(family),
            "gemini_batch_lines",
            RAW_STATUS,
            "answer",
            RAW_ERROR,
            limit,
            most,
            DUCKDB,
        )
        return f"""gemini_batch_lines AS (
  {lines}
), {read}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""

    return LineForm(family, plain_rows, rewritten_rows, _has_odd_vector)


# Without what numbers are written with, commas and white space, a list of numbers is empty. The name has lost its e.
_odd_list = re.compile(rb'"valus":\[[^]]').search
_NUMBERS = b"0123456789+-.eE, \t\r"


def _has_odd_vector(lines: bytes) -> bool:
    """Return whether a list of ``values`` holds anything but numbers, which their type takes for numbers."""
    return bool(_odd_list(lines.translate(None, _NUMBERS)))
