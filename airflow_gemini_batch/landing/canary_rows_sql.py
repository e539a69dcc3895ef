"""The answers of a canary as rows that land: of BigQuery and of DuckDB."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_gemini_batch.core.columns import QUESTION_COLUMN, ColumnTypes
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.landing.plan import LandingPlan, staged_items, staging_columns, target_columns
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.requests.bigquery.expressions import ROWS
from airflow_gemini_batch.requests.done import check_canary
from airflow_gemini_batch.sql.dialect import Binder, Dialect


def check_canary_columns(
    where: str, types: Mapping[str, str], plan: LandingPlan, landing: Mapping[str, str]
) -> None:
    """Raise :class:`.InvalidRequestError` unless the rows of a canary can be landed.

    :param types: of its columns.
    :param landing: types that the columns of the target have in such a place.
    """
    check_canary(where, types, plan.key)
    found = ColumnTypes(types)
    errors = [
        f"the column {column.name!r} is missing there"
        if column.name not in found
        else f"the column {column.name!r} is {found[column.name]} there, and {landing[column.name]} by the schema"
        for column in plan.columns
        if found.get(column.name) != landing[column.name]
    ]
    if errors:
        raise InvalidRequestError(
            f"canary {where} can't be landed:\n"
            + "\n".join(errors)
            + "\nGive response_schema, text_column and vector_column as in the task that landed it. Nothing was landed."
        )


def canary_rows(
    plan: LandingPlan,
    types: Mapping[str, str],
    source: str,
    question: str,
    dialect: Dialect,
    binder: Binder,
) -> str:
    """Return the query for the answers of a canary to a question, with the columns of :func:`.staging_columns`.

    :param types: of the canary's columns; bookkeeping that it lacks is NULL.
    :param source: what stands behind FROM.
    """
    landed, found = target_columns(plan), ColumnTypes(types)
    values = {
        name: f"{ROWS}.{dialect.name(name)}"
        if name in landed and name in found
        else f"CAST(NULL AS {dialect.types[kind]})"
        for name, kind in staging_columns(plan).items()
    }
    values["batch_outcome"] = f"'{Outcome.OK}'"
    return f"""SELECT
  {staged_items(plan, values, dialect.name)}
FROM {source} AS {ROWS}
WHERE {ROWS}.{dialect.name(QUESTION_COLUMN)} = {binder.bind(question)}"""
