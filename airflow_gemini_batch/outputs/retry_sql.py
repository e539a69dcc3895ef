"""The SQL of follow-up jobs: their requests are picked out of the source by BigQuery, and never leave it."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.outputs.classify_sql import RETRIED, digest_of, sorted_answers
from airflow_gemini_batch.outputs.summary import KEPT_FOR_DAYS


def follow_up_statement(
    place: BigQueryAddress,
    table: BigQueryAddress,
    source: BigQueryAddress,
    columns: Sequence[str],
    *,
    vectors: bool = False,
) -> str:
    """Return the statement that writes the requests worth another job to a table with the source's columns.

    Of equal requests as many are written as have no final answer. The same statement writes the same rows again.

    :param table: the job's output.
    :param columns: what tells requests apart in both tables.
    :param vectors: see :func:`airflow_gemini_batch.outputs.classify_sql.sorted_answers`.
    """
    digest = digest_of(columns, blank_is_null=vectors)
    return f"""CREATE OR REPLACE TABLE {place.sql}
OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {KEPT_FOR_DAYS} DAY))
AS
WITH asked AS (
  SELECT
    *,
    {digest} AS gemini_batch_digest,
    ROW_NUMBER() OVER (PARTITION BY {digest}) AS gemini_batch_place
  FROM {source.sql}
), {sorted_answers(table, digest, vectors=vectors)}, finished AS (
  SELECT digest, COUNT(*) AS row_count FROM sorted_answers WHERE outcome NOT IN ({RETRIED}) GROUP BY digest
)
SELECT asked.* EXCEPT (gemini_batch_digest, gemini_batch_place)
FROM asked
LEFT JOIN finished ON finished.digest = asked.gemini_batch_digest
WHERE asked.gemini_batch_place > IFNULL(finished.row_count, 0)"""


def mixed_requests_statement(source: BigQueryAddress, columns: Sequence[str], others: Sequence[str]) -> str:
    """Return the statement that counts the groups of rows that are alike in ``columns`` but not in ``others``.

    Column of the result: ``row_count`` (INT64).
    """
    return f"""SELECT COUNT(*) AS row_count
FROM (
  SELECT {digest_of(columns)} AS digest
  FROM {source.sql}
  GROUP BY 1
  HAVING COUNT(DISTINCT {digest_of(others)}) > 1
)"""
