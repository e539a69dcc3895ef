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
from airflow_gemini_batch.outputs.lines import (
    FAILED,
    RAW_ERROR,
    RAW_STATUS,
    LineForm,
    identified,
    identity,
    json_lines,
    read_json,
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
        "COALESCE(fields.embedding, fields.embeddings[1])",
        (("fields.tokenCount", "$"), ("fields.usageMetadata", "$.promptTokenCount")),
        "fields.truncated",
    ),
}

# A row is plain if it tells a failure in words, or has numbers and tells no failure.
_PLAIN = f"(error IS NULL AND ({FAILED} OR IFNULL(status, '') = '' AND IFNULL(len(numbers), 0) > 0))"


def vector_lines(family: ModelFamily, limit: int = MOST_TOKENS, most: int | None = None) -> LineForm:
    """Return how the lines of a family are read, with the columns of :func:`.read_vectors`.

    :param limit: as of :func:`.read_vectors`, like ``most``.
    """
    plain = _PLAIN_FORMS[family]

    def divided(rows: str) -> str:
        embedded = f"SELECT *, {plain.embedding} AS embedding FROM {rows}"
        return f'(SELECT *, embedding."values" AS numbers FROM ({embedded}))'

    def plain_rows(paths: Sequence[Path], longest: int) -> str:
        texts = dict.fromkeys(("status", "error", "processed_time"), "VARCHAR")
        answer = family.answer_column
        columns = {"key": "JSON", **texts, answer: plain.fields, family.asked: "JSON"}
        rows = f"""(
  SELECT * RENAME ({answer} AS fields, {family.asked} AS asked, key AS raw_key), json_extract_string(key, '$') AS key
  FROM {read_json(paths, columns, longest)}
)"""
        cut = "" if most is None else f", numbers[:{most}] AS numbers"
        flags = (("embedding.statistics", "$.truncated"), ("embedding.truncated", "$"), (plain.flag, "$"))
        return f"""SELECT
  {identified(family)},
  IF({FAILED}, {DUCKDB.trimmed("status")}, '') AS status_text,
  token_count,
  {truncated(flags, limit, DUCKDB)} AS truncated,
  numbers IS NOT NULL AS has_vector,
  dimensions,
  numbers,
  -- Only of numbers that are none NULL; a third of the time of the general way.
  sqrt(list_dot_product(numbers, numbers)) AS length
FROM (
  SELECT
    * REPLACE (IF({_PLAIN}, key, NULL) AS key{cut}),
    len(numbers) AS dimensions,
    {token_count(plain.tokens, DUCKDB)} AS token_count,
    CASE WHEN {_PLAIN} THEN {identity(family)} END AS identity
  FROM {divided(rows)}
)"""

    def other_rows(paths: Sequence[Path], longest: int, is_usual: bool) -> str:
        rows = json_lines(paths, longest, family, plain.fields)
        return told(f"""SELECT *, {identity(family)} AS identity
  FROM {divided(rows)}
  WHERE {f"NOT {_PLAIN}" if is_usual else "TRUE"}""")

    def mended_rows(path: Path, longest: int) -> str:
        return told(f"FROM {json_lines([path], longest, family, plain.fields, mended=True)}")

    def told(rows: str) -> str:
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
  {rows}
), {read}, gemini_batch_read AS (
  FROM gemini_batch_told
)"""

    return LineForm(family, plain_rows, other_rows, mended_rows, _has_odd_vector)


# Without what numbers are written with, commas and white space, a list of numbers is empty. The name has lost its e.
_odd_list = re.compile(rb'"valus":\[[^]]').search
_NUMBERS = b"0123456789+-.eE, \t\r"


def _has_odd_vector(lines: bytes) -> bool:
    """Return whether a list of ``values`` holds anything but numbers, which their type takes for numbers."""
    return bool(_odd_list(lines.translate(None, _NUMBERS)))
