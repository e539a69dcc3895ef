"""The queries for what lands of output lines: see :class:`airflow_gemini_batch.outputs.lines.AnswerLines`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.core.keys import KEY_AFTER, KEY_BEFORE
from airflow_gemini_batch.core.response_schema import AnswerColumn
from airflow_gemini_batch.landing.plain_answers import is_within_bounds, plain_column, plain_value
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.landing.schema_check_sql import (
    mismatch_expression,
    parsed_answer,
    value_expression,
)
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import (
    SAMPLE_LENGTH,
    failure_message,
    outcome_case,
    status_code,
)
from airflow_gemini_batch.outputs.embeddings import LONGEST
from airflow_gemini_batch.outputs.generated_lines import GENERATED
from airflow_gemini_batch.outputs.line_sql import LineForm
from airflow_gemini_batch.outputs.vector_lines import vector_lines
from airflow_gemini_batch.outputs.vectors_sql import checked_vectors, fitted_numbers, is_shortened
from airflow_gemini_batch.sql.dialect import DUCKDB, Literals

_OK = f"'{Outcome.OK}'"
_LARGEST_FLOAT = 3.4e38


def line_form(plan: LandingPlan, limit: int) -> LineForm:
    """Return how the lines of a plan are read.

    :param limit: tokens of a text that an embedding model reads.
    """
    return vector_lines(plan.family, limit, plan.dimensions) if plan.embeds else GENERATED


def answers_query(plan: LandingPlan, vector_type: str) -> str:
    """Return the query for the answers.

    Its columns are ``source``, ``label``, ``digest``, ``bare_key``, ``key_0``, ``key_1``, … (NULL where the label does
    not tell them), ``by_content`` (false), ``outcome``, ``code``, ``message``, ``value_0``, … (NULL unless the outcome
    is ok), ``left_text``, ``shortened`` (whether a vector came longer than asked), ``answered`` (when the answer came;
    NULL where the row does not say), and those of the bookkeeping that rows tell.

    Vectors are DOUBLE[], and there whatever the outcome.

    ``left_text`` is the text of a good answer that does not plainly fit the schema: :func:`judged_query` has to tell
    its outcome and its values, which are NULL.

    :param vector_type: DuckDB's type of the numbers of a vector.
    """
    rows, values = _vectors(plan, vector_type) if plan.embeds else _generated(plan)
    keys = _keys(len(plan.key))
    items = {
        **{name: name for name in ("source", "label", "digest", "bare_key")},
        **keys,
        "by_content": "FALSE",
        **values,
        "answered": "TRY_CAST(processed_time AS TIMESTAMPTZ)",
    }
    selected = ",\n  ".join(f"{value} AS {name}" for name, value in items.items())
    return f"SELECT\n  {selected}\nFROM (\n{rows}\n) AS judged"


def vector_column(plan: LandingPlan) -> str:
    """Return the column of :func:`answers_query` with the vectors."""
    (index,) = (index for index, column in enumerate(plan.columns) if column.path == "values")
    return f"value_{index}"


def judged_query(plan: LandingPlan, schema: Mapping[str, Any], rows: str) -> str:
    """Return the query for rows of :func:`answers_query` whose outcome is left to be told.

    Their expressions stand for each field of the schema, so that it takes long to read this statement.

    :param schema: of the plan.
    :param rows: what stands behind FROM.
    """
    mismatch = mismatch_expression(schema, "left_text", "answer", Literals(), DUCKDB)
    values = ",\n  ".join(
        f"IF(mismatch IS NULL, {value_expression(column, 'answer', DUCKDB)}, NULL)::{_type(column)} AS value_{index}"
        for index, column in enumerate(plan.columns)
    )
    return f"""SELECT * EXCLUDE (answer, mismatch) REPLACE (
  IF(mismatch IS NULL, {_OK}, '{Outcome.INVALID}') AS outcome,
  mismatch AS message,
  NULL AS left_text,
  {values}
)
FROM (
  SELECT *, {mismatch} AS mismatch
  FROM (SELECT *, {parsed_answer("left_text", DUCKDB)} AS answer FROM {rows} WHERE left_text IS NOT NULL)
)"""


def _type(column: AnswerColumn) -> str:
    type_ = "VARCHAR" if column.type == "JSON" else DUCKDB.types[column.type]
    return f"{type_}[]" if column.repeated else type_


def key_names(plan: LandingPlan) -> list[str]:
    """Return the names that the key's columns have until they are those of a target."""
    return list(_keys(len(plan.key)))


def _keys(count: int) -> dict[str, str]:
    """Return the expressions for the columns of a key that came back as it was sent."""
    text = f"SUBSTR(label, {len(KEY_BEFORE) + 1}, LENGTH(label) - {len(KEY_BEFORE) + len(KEY_AFTER)})"
    sent = f"STARTS_WITH(label, '{KEY_BEFORE}') AND ENDS_WITH(label, '{KEY_AFTER}')"
    if count == 1:
        return {"key_0": f"IF({sent}, {text}, NULL)"}
    places = [f"$[{index}]" for index in range(count)]
    texts = (
        f"TRY(json_type({text}, {places}) = {['VARCHAR'] * count} AND json_array_length({text}) = {count})"
    )
    return {
        f"key_{index}": f"IF({sent} AND {texts}, json_extract_string({text}, '{place}'), NULL)"
        for index, place in enumerate(places)
    }


def _generated(plan: LandingPlan) -> tuple[str, Mapping[str, str]]:
    good = f"told = {_OK}"
    rows = f"""SELECT *, {outcome_case(DUCKDB)} AS told, {status_code(DUCKDB)} AS status_code
FROM gemini_batch_read"""
    values, fits = ["answer_text"], "TRUE"
    if plan.schema is not None:
        rows = f"""SELECT *, CASE WHEN {good} THEN {plain_value(plan.schema, plan.columns, "answer_text")} END AS plain
FROM (
  {rows}
)"""
        fits = is_within_bounds(plan.schema, plan.columns, "plain")
        values = [plain_column(column, "plain") for column in plan.columns]
    rows = f"""SELECT *, IFNULL({good} AND NOT {fits}, FALSE) AS is_left
FROM (
  {rows}
)"""
    tokens = {name: f"fields.usageMetadata.{field}" for name, field in TOKEN_COLUMNS.items()}
    typed = zip(plan.columns, values, strict=True)
    return rows, {
        "outcome": "IF(is_left, NULL, told)",
        "code": "IF(status_text = '', NULL, status_code)",
        "message": f"""CASE
    WHEN {good} THEN NULL
    ELSE COALESCE(SUBSTR(NULLIF(status_text, ''), 1, {SAMPLE_LENGTH}), {failure_message(DUCKDB)})
  END""",
        **{
            f"value_{index}": f"CASE WHEN {good} AND NOT is_left THEN {value} END::{_type(column)}"
            for index, (column, value) in enumerate(typed)
        },
        "left_text": "IF(is_left, answer_text, NULL)",
        "shortened": "NULL::BOOLEAN",
        "batch_model": "fields.modelVersion",
        "batch_finish_reason": "finish_reason",
        **{name: f"IF({count} >= 0, {count}, NULL)" for name, count in tokens.items()},
    }


def _vectors(plan: LandingPlan, vector_type: str) -> tuple[str, Mapping[str, str]]:
    longest = _LARGEST_FLOAT if vector_type == "FLOAT" else LONGEST
    rows = f"""WITH {checked_vectors("gemini_batch_read", plan.dimensions, DUCKDB, longest)}
FROM gemini_batch_judged"""
    facts = {
        "dimensions": "len(numbers)",
    }
    values = {
        f"value_{index}": f"IF(outcome = {_OK}, {facts.get(column.path or '', column.path)}, NULL)"
        for index, column in enumerate(plan.columns)
    }
    # Whatever the outcome, since a condition copies all numbers.
    values[vector_column(plan)] = fitted_numbers("judged", plan.dimensions, DUCKDB)
    return rows, {
        "outcome": "outcome",
        "code": "status_code",
        "message": "message",
        **values,
        "dimensions": facts["dimensions"],
        "left_text": "NULL::VARCHAR",
        "shortened": is_shortened("judged", plan.dimensions),
        "batch_prompt_tokens": "token_count",
    }
