"""The statement that stages the answers of a canary."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.staging_sql import filled_staging_table
from airflow_gemini_batch.landing.canary_rows_sql import canary_rows
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.sql.dialect import BIGQUERY


def canary_staging_statement(
    plan: LandingPlan,
    staging: BigQueryAddress,
    canary: BigQueryAddress,
    types: Mapping[str, str],
    question: str,
) -> Statement:
    """Return the statement that writes the answers of a canary to a question to a staging table.

    :param types: GoogleSQL's types of the canary's columns.
    """
    parameters = Parameters()
    rows = canary_rows(plan, types, canary.sql, question, BIGQUERY, parameters)
    key_types = {name: types[name] for name in plan.key}
    return Statement(filled_staging_table(plan, staging, key_types, rows), parameters.values)
