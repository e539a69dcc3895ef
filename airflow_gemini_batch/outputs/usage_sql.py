"""The SQL that counts the tokens of an output table, as ``outputs.usage`` counts those of files."""

from __future__ import annotations

from collections.abc import Collection

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.outputs.usage import LONG_PROMPT


def usage_statement(table: BigQueryAddress, columns: Collection[str]) -> str:
    """Return the statement that adds up the tokens of an output table by model version.

    Columns of the result: ``model_version`` (STRING, empty if the rows do not name it), ``row_count``, and the
    token counts of :class:`~airflow_gemini_batch.outputs.usage.Usage` (INT64). Works for a column ``response`` or
    ``predictions`` of type JSON or STRING.

    :param columns: names of the table's columns.
    """
    counts = _text_embedding_counts() if "predictions" in columns else _generation_counts()
    return f"""WITH gemini_batch_counts AS (
  SELECT
    {counts}
  FROM {table.sql} AS gemini_batch_output
)
SELECT
  model_version,
  COUNT(*) AS row_count,
  SUM(prompt) AS prompt_tokens,
  SUM(output) AS output_tokens,
  SUM(thoughts) AS thoughts_tokens,
  SUM(cached) AS cached_tokens,
  SUM(IF(prompt > {LONG_PROMPT}, prompt, 0)) AS long_prompt_tokens,
  SUM(IF(prompt > {LONG_PROMPT}, output + thoughts, 0)) AS long_output_tokens,
  SUM(IF(prompt > {LONG_PROMPT}, cached, 0)) AS long_cached_tokens
FROM gemini_batch_counts
WHERE prompt + output + thoughts > 0
GROUP BY model_version"""


def _generation_counts() -> str:
    """Return what is counted of a ``GenerateContentResponse``, as items of a SELECT."""
    fields = zip(("prompt", "output", "thoughts", "cached"), TOKEN_COLUMNS.values(), strict=True)
    items = [
        f"{_count('gemini_batch_output.response', f'$.usageMetadata.{field}')} AS {kind}"
        for kind, field in fields
    ]
    return ",\n    ".join(
        ["IFNULL(JSON_VALUE(gemini_batch_output.response, '$.modelVersion'), '') AS model_version", *items]
    )


def _text_embedding_counts() -> str:
    """Return what is counted of an embedded text, as items of a SELECT; the row does not name the model."""
    tokens = _count("gemini_batch_output.predictions", "$[0].embeddings.statistics.token_count")
    return f"'' AS model_version,\n    {tokens} AS prompt,\n    0 AS output,\n    0 AS thoughts,\n    0 AS cached"


def _count(column: str, path: str) -> str:
    # A whole number, which the service writes as 8 or as 8.0.
    number = f"SAFE_CAST(SAFE_CAST(JSON_VALUE({column}, '{path}') AS FLOAT64) AS INT64)"
    return f"GREATEST(IFNULL({number}, 0), 0)"
