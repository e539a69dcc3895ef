"""Vectors that land: what is said of their lengths, and their rows without them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.landing import LandingPlan
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.responses import Outcome
from airflow_gemini_batch.core.schemas import AnswerColumn
from airflow_gemini_batch.exceptions import InvalidRequestError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VECTOR = "VECTOR"
"""Type of a column of rows whose vectors are kept aside; each row has the digest of its own."""


def say_shortened(log: Log, plan: LandingPlan, count: int) -> None:
    """Log how many vectors were cut, if any were."""
    if count:
        log.warning(
            "%d vectors had more than the %s dimensions asked for: they were cut and normalised again",
            count,
            plan.dimensions,
        )


def other_length(target: str, staged: int, landed: int) -> InvalidRequestError:
    """Return the error for vectors that a target can't take beside those that it has."""
    return InvalidRequestError(
        f"the vectors have {staged} dimensions, and those in {target} have {landed}, so they can't be compared: name "
        f"another target, or set output_dimensionality to {landed} in all tasks of the pipeline. Nothing was landed."
    )


def without_vectors(plan: LandingPlan) -> LandingPlan:
    """Return the plan for rows that have digests of their vectors: see ``vector_file``."""
    columns = (
        AnswerColumn(one.name, VECTOR, path=one.path) if one.path == "values" else one for one in plan.columns
    )
    return dataclasses.replace(plan, columns=tuple(columns)) if plan.embeds else plan


def of_one_length(database: DuckDBPyConnection, plan: LandingPlan, rows: str) -> str:
    """Return the query for spooled answers in which vectors are invalid that are not as long as most are."""
    if not plan.embeds or plan.dimensions is not None:
        return rows
    length = f"value_{[one.path for one in plan.columns].index('dimensions')}"
    lengths = database.execute(
        f"SELECT {length} FROM ({rows}) WHERE outcome = '{Outcome.OK}' GROUP BY 1 ORDER BY COUNT(*) DESC, 1 DESC"
    ).fetchall()
    if len(lengths) < 2:
        return rows
    ((usual,), *_) = lengths
    odd = f"outcome = '{Outcome.OK}' AND {length} != {usual}"
    values = [f"IF({odd}, NULL, value_{place}) AS value_{place}" for place in range(len(plan.columns))]
    message = f"CONCAT('the vector has ', {length}, ' dimensions, not the {usual} of most')"
    return f"""SELECT * REPLACE (
  IF({odd}, '{Outcome.INVALID}', outcome) AS outcome,
  IF({odd}, {message}, message) AS message,
  IF({odd}, FALSE, shortened) AS shortened,
  {", ".join(values)}
) FROM ({rows})"""
