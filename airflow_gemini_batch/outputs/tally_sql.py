"""The SQL that counts the rows of an output table by outcome.

Columns of tables are qualified by an alias, since in GoogleSQL an alias hides a column of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import (
    SAMPLE_LENGTH,
    error_text,
    failure_message,
    json_answer,
    outcome_case,
    read_answers,
)
from airflow_gemini_batch.outputs.embeddings import NO_VECTOR
from airflow_gemini_batch.outputs.vectors_sql import read_vectors, vector_case
from airflow_gemini_batch.sql.dialect import BIGQUERY

OUTPUT = "gemini_batch_output"
"""Alias of an output table."""

SAMPLE = f"IF(outcome = '{Outcome.OK}', '', MIN(reason)) AS sample"
"""The item of a SELECT that gives the reason of one of the rows with an outcome."""


def sorted_answers(
    table: BigQueryAddress, more: Mapping[str, str], family: ModelFamily, types: Mapping[str, str]
) -> str:
    """Return the WITH clauses that end in ``gemini_batch_answers``: each output row's outcome, reason and more.

    :param more: expressions over the columns of :data:`OUTPUT` for further columns, by name.
    :param family: of the model that wrote the table.
    :param types: of the table's columns, without those that a user has given; answers of an unnamed one are JSON.
    """
    answers = _ANSWERS[family]
    kept = ", ".join(f"{expression} AS {name}" for name, expression in more.items())
    return f"""{answers.clauses(kept, f"{table.sql} AS {OUTPUT}", types)}, gemini_batch_answers AS (
  SELECT
    {answers.case} AS outcome,
    SUBSTR(COALESCE(NULLIF(status_text, ''), {answers.reason}), 1, {SAMPLE_LENGTH}) AS reason,
    {", ".join(more)}
  FROM gemini_batch_told
)"""


class _AnswerSql(NamedTuple):
    """How the answers of a family are sorted.

    :param clauses: gives the WITH clauses that read them, the last one ``gemini_batch_told``.
    :param case: the CASE expression that makes an outcome of them.
    :param reason: the expression for why a row without a ``status_text`` failed.
    """

    clauses: Callable[[str, str, Mapping[str, str]], str]
    case: str
    reason: str


def _read_generated(kept: str, source: str, types: Mapping[str, str]) -> str:
    response = json_answer(OUTPUT, GENERATE_CONTENT, types)
    return read_answers(kept, source, f"{OUTPUT}.status", response, error_text(OUTPUT, types))


def _read_embedded(kept: str, source: str, types: Mapping[str, str]) -> str:
    predictions = json_answer(OUTPUT, TEXT_EMBEDDING, types)
    return read_vectors(
        TEXT_EMBEDDING, kept, source, f"{OUTPUT}.status", predictions, error_text(OUTPUT, types)
    )


_ANSWERS = {
    GENERATE_CONTENT: _AnswerSql(_read_generated, outcome_case(), failure_message()),
    TEXT_EMBEDDING: _AnswerSql(_read_embedded, vector_case(BIGQUERY), f"'{NO_VECTOR}'"),
}


def tally_statement(
    table: BigQueryAddress, family: ModelFamily, types: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the statement that counts an output table's rows by outcome.

    Columns of the result: ``outcome`` (STRING), ``row_count`` (INT64), ``sample`` (STRING, the reason given by
    one of the rows; empty for good ones). Parameters as of :func:`sorted_answers`.
    """
    return f"""WITH {sorted_answers(table, {"counted": "1"}, family, types)}
SELECT
  outcome,
  SUM(counted) AS row_count,
  {SAMPLE}
FROM gemini_batch_answers
GROUP BY outcome
ORDER BY outcome"""
