"""The statements that merge a staging table into the target and its failures, and count it.

The staging table has the columns of :func:`airflow_gemini_batch.landing.plan.staging_columns`.
"""

from __future__ import annotations

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FAILED_COLUMNS, STAGED_AS
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.landing.plan import LandingPlan
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.requests.bigquery.columns import quoted


def count_statement(staging: BigQueryAddress, samples: int) -> Statement:
    """Return the statement that counts the staged rows by outcome.

    Columns of the result: ``outcome``, ``row_count`` and ``messages``, at most ``samples`` different ones.
    """
    return Statement(f"""SELECT
  batch_outcome AS outcome,
  COUNT(*) AS row_count,
  ARRAY_AGG(DISTINCT batch_message IGNORE NULLS ORDER BY batch_message LIMIT {samples}) AS messages
FROM {staging.sql}
GROUP BY 1
ORDER BY 1""")


def merge_statement(
    plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress, failed: BigQueryAddress
) -> Statement:
    """Return the script that merges a staging table into target and failures, in one transaction.

    An answer that is older than what is there changes nothing, neither does a failure that is older than an answer;
    without bookkeeping in the target, nobody can tell how old its answers are.
    """
    return Statement(f"""BEGIN TRANSACTION;
{_merge_answers(plan, staging, target)};
{_merge_failures(plan, staging, target, failed)};
COMMIT TRANSACTION;""")


def _merge_answers(plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress) -> str:
    answers = [column.name for column in plan.columns]
    written = [*answers, *plan.bookkeeping_columns]
    newer = ""
    if plan.bookkeeping:
        newer = " AND IFNULL(staged.batch_processed_time >= landed.batch_processed_time, TRUE)"
    return f"""MERGE INTO {target.sql} AS landed
USING (SELECT * FROM {staging.sql} WHERE batch_outcome = '{Outcome.OK}') AS staged
ON {_equal_names("landed", "staged", plan)}
WHEN MATCHED{newer} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = staged.{quoted(name)}" for name in written)}
WHEN NOT MATCHED THEN
  INSERT ({", ".join(map(quoted, [*plan.key, *written]))})
  VALUES ({", ".join(f"staged.{quoted(name)}" for name in [*plan.key, *written])})"""


def _merge_failures(
    plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress, failed: BigQueryAddress
) -> str:
    values = {name: f"staged.{quoted(STAGED_AS.get(name, name))}" for name in FAILED_COLUMNS}
    keys = [quoted(name) for name in plan.key]
    current = "IFNULL(staged.batch_processed_time >= failed.failed_time, TRUE)"
    return f"""MERGE INTO {failed.sql} AS failed
USING ({_current_rows(plan, staging, target)}) AS staged
ON {_equal_names("failed", "staged", plan)}
WHEN MATCHED AND staged.batch_outcome = '{Outcome.OK}' AND {current} THEN
  DELETE
WHEN MATCHED AND staged.batch_outcome != '{Outcome.OK}' AND {current} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = {value}" for name, value in values.items())}
WHEN NOT MATCHED AND staged.batch_outcome != '{Outcome.OK}' THEN
  INSERT ({", ".join([*keys, *map(quoted, values)])})
  VALUES ({", ".join([*(f"staged.{key}" for key in keys), *values.values()])})"""


def _current_rows(plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress) -> str:
    """Return the query for the staged rows without the failures that an answer in the target has overtaken."""
    if not plan.bookkeeping:
        return f"SELECT * FROM {staging.sql}"
    keys = ", ".join(map(quoted, plan.key))
    return f"""
  SELECT staged.*
  FROM {staging.sql} AS staged
  LEFT JOIN (
    SELECT {keys}, MAX(batch_processed_time) AS landed_time FROM {target.sql} GROUP BY {keys}
  ) AS landed ON {_equal_names("landed", "staged", plan)}
  WHERE staged.batch_outcome = '{Outcome.OK}'
    OR IFNULL(landed.landed_time <= staged.batch_processed_time, TRUE)
"""


def _equal_names(one: str, other: str, plan: LandingPlan) -> str:
    return " AND ".join(f"{one}.{quoted(name)} = {other}.{quoted(name)}" for name in plan.key)
