"""The statements that merge a staging table into the target and its failures, and count it.

The staging table has the columns of :func:`airflow_gemini_batch.landing.plan.staging_columns`.
"""

from __future__ import annotations

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import FAILED_COLUMNS, STAGED_AS, TIMES_FAILED_COLUMN, free_name
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.landing.plan import LandingPlan, first_failure, newer_wins, times_failed
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.requests.bigquery.expressions import quoted

# Aliases that no column has: in GoogleSQL an alias hides a column of the same name.
_STAGED, _TARGET, _FAILED = "gemini_batch_staged", "gemini_batch_target", "gemini_batch_failed"
_STAGED_TIME = f"{_STAGED}.batch_processed_time"


def count_statement(staging: BigQueryAddress, samples: int) -> Statement:
    """Return the statement that counts the staged rows by outcome.

    Columns of the result: ``outcome``, ``row_count`` and ``messages``, at most ``samples`` different ones.
    """
    # Messages are grouped first: an aggregate of different ones would hold all of them.
    return Statement(f"""SELECT
  outcome,
  SUM(row_count) AS row_count,
  ARRAY_AGG(message IGNORE NULLS ORDER BY message LIMIT {samples}) AS messages
FROM (
  SELECT {_STAGED}.batch_outcome AS outcome, {_STAGED}.batch_message AS message, COUNT(*) AS row_count
  FROM {staging.sql} AS {_STAGED}
  GROUP BY 1, 2
)
GROUP BY outcome
ORDER BY outcome""")


def merge_statement(
    plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress, failed: BigQueryAddress
) -> Statement:
    """Return the script that merges a staging table into target and failures, in one transaction.

    An answer that is older than the target's changes nothing, and neither does a failure that is older than an answer;
    without bookkeeping the target does not say how old its answers are.
    """
    return Statement(f"""BEGIN TRANSACTION;
{_merge_answers(plan, staging, target)};
{_merge_failures(plan, staging, target, failed)};
COMMIT TRANSACTION;""")


def _merge_answers(plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress) -> str:
    written = [*(column.name for column in plan.columns), *plan.bookkeeping_columns]
    # In SET the alias would hide a column of the same name.
    target_rows = free_name(_TARGET, written)
    newer = (
        f" AND {newer_wins(_STAGED_TIME, f'{target_rows}.batch_processed_time')}" if plan.bookkeeping else ""
    )
    staged = (
        f"SELECT {_STAGED}.* FROM {staging.sql} AS {_STAGED} WHERE {_STAGED}.batch_outcome = '{Outcome.OK}'"
    )
    return f"""MERGE INTO {target.sql} AS {target_rows}
USING ({staged}) AS {_STAGED}
ON {_same_key(target_rows, _STAGED, plan)}
WHEN MATCHED{newer} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = {_STAGED}.{quoted(name)}" for name in written)}
WHEN NOT MATCHED THEN
  INSERT ({", ".join(map(quoted, [*plan.key, *written]))})
  VALUES ({", ".join(f"{_STAGED}.{quoted(name)}" for name in [*plan.key, *written])})"""


def _merge_failures(
    plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress, failed: BigQueryAddress
) -> str:
    def new(name: str) -> str:
        return f"{_STAGED}.{quoted(STAGED_AS.get(name, name))}"

    values = {name: new(name) for name in FAILED_COLUMNS}
    first = {**values, TIMES_FAILED_COLUMN: first_failure(new)}
    again = {
        **values,
        TIMES_FAILED_COLUMN: times_failed(new, lambda name: f"{_FAILED}.{quoted(name)}"),
    }
    keys = [quoted(name) for name in plan.key]
    answered = f"{_STAGED}.batch_outcome = '{Outcome.OK}'"
    newer = newer_wins(_STAGED_TIME, f"{_FAILED}.failed_time")
    return f"""MERGE INTO {failed.sql} AS {_FAILED}
USING ({_current_rows(plan, staging, target)}) AS {_STAGED}
ON {_same_key(_FAILED, _STAGED, plan)}
WHEN MATCHED AND {answered} AND {newer} THEN
  DELETE
WHEN MATCHED AND NOT {answered} AND {newer} THEN
  UPDATE SET {", ".join(f"{quoted(name)} = {value}" for name, value in again.items())}
WHEN NOT MATCHED AND NOT {answered} THEN
  INSERT ({", ".join([*keys, *map(quoted, first)])})
  VALUES ({", ".join([*(f"{_STAGED}.{key}" for key in keys), *first.values()])})"""


def _current_rows(plan: LandingPlan, staging: BigQueryAddress, target: BigQueryAddress) -> str:
    """Return the query for the staged rows without the failures that an answer in the target has overtaken."""
    rows = f"SELECT {_STAGED}.*\n  FROM {staging.sql} AS {_STAGED}"
    if not plan.bookkeeping:
        return rows
    keys = {f"key_{n}": quoted(name) for n, name in enumerate(plan.key)}
    selected = ", ".join(f"{_TARGET}.{name} AS {alias}" for alias, name in keys.items())
    same_key = " AND ".join(f"{_TARGET}.{alias} = {_STAGED}.{name}" for alias, name in keys.items())
    # A target of others may hold a key more than once.
    return f"""
  {rows}
  LEFT JOIN (
    SELECT {selected}, MAX({_TARGET}.batch_processed_time) AS answered_time
    FROM {target.sql} AS {_TARGET}
    GROUP BY {", ".join(str(number) for number in range(1, len(keys) + 1))}
  ) AS {_TARGET} ON {same_key}
  WHERE {_STAGED}.batch_outcome = '{Outcome.OK}'
    OR {newer_wins(_STAGED_TIME, f"{_TARGET}.answered_time")}
"""


def _same_key(left: str, right: str, plan: LandingPlan) -> str:
    return " AND ".join(f"{left}.{quoted(name)} = {right}.{quoted(name)}" for name in plan.key)
