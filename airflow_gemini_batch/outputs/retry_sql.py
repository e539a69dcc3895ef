"""The SQL of follow-up jobs: BigQuery picks their requests out of the source, and no row leaves it."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.outputs.classify_sql import OUTPUT, digest_of, is_final, sorted_answers
from airflow_gemini_batch.outputs.summary import KEPT_FOR_DAYS

_SOURCE = "gemini_batch_source"


def follow_up_statement(
    address: BigQueryAddress,
    table: BigQueryAddress,
    source: BigQueryAddress,
    columns: Sequence[str],
    *,
    vectors: bool = False,
) -> str:
    """Return the statement that writes the requests worth another job to a table with the source's columns.

    Of equal requests as many are written as have no final answer. The same statement writes the same rows again.

    :param address: the table to write.
    :param table: the job's output.
    :param columns: what distinguishes requests in both tables.
    :param vectors: see :func:`airflow_gemini_batch.outputs.classify_sql.sorted_answers`.
    """
    asked = digest_of(_SOURCE, columns, blank_is_null=vectors)
    answered = digest_of(OUTPUT, columns, blank_is_null=vectors)
    return f"""CREATE OR REPLACE TABLE {address.sql}
OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {KEPT_FOR_DAYS} DAY))
AS
WITH gemini_batch_requests AS (
  SELECT
    {_SOURCE}.*,
    {asked} AS gemini_batch_digest,
    ROW_NUMBER() OVER (PARTITION BY {asked}) AS gemini_batch_number
  FROM {source.sql} AS {_SOURCE}
), {sorted_answers(table, answered, vectors=vectors)}, gemini_batch_final AS (
  SELECT digest, COUNT(*) AS row_count FROM gemini_batch_answers WHERE {is_final("outcome")} GROUP BY digest
)
SELECT gemini_batch_requests.* EXCEPT (gemini_batch_digest, gemini_batch_number)
FROM gemini_batch_requests
LEFT JOIN gemini_batch_final ON gemini_batch_final.digest = gemini_batch_requests.gemini_batch_digest
WHERE gemini_batch_requests.gemini_batch_number > IFNULL(gemini_batch_final.row_count, 0)"""


def mixed_requests_statement(source: BigQueryAddress, columns: Sequence[str], others: Sequence[str]) -> str:
    """Return the statement that counts the groups of rows that are alike in ``columns`` but not in ``others``.

    Column of the result: ``row_count`` (INT64).
    """
    return f"""SELECT COUNT(*) AS row_count
FROM (
  SELECT {digest_of(_SOURCE, columns)} AS digest
  FROM {source.sql} AS {_SOURCE}
  GROUP BY 1
  HAVING COUNT(DISTINCT {digest_of(_SOURCE, others)}) > 1
)"""
