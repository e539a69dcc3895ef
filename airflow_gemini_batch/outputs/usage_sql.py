"""The SQL that counts tokens, in tables and in files."""

from __future__ import annotations

from collections.abc import Collection

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.columns import TOKEN_COLUMNS
from airflow_gemini_batch.outputs.usage import AUDIO, LONG_PROMPT
from airflow_gemini_batch.sql.dialect import BIGQUERY

# TEXT, IMAGE, VIDEO, AUDIO, DOCUMENT, and the unspecified one.
_MODALITIES = 6

_KINDS = ("prompt", "output", "thoughts", "cached", "tool")
_COUNTS = (*_KINDS, "audio", "searches")

IS_COUNTED = "prompt + output + thoughts + tool > 0"
"""The condition that a row reports tokens."""


def usage_statement(table: BigQueryAddress, columns: Collection[str]) -> str:
    """Return the statement that adds up the tokens of an output table by model version: see :func:`added_up`.

    Works for a column ``response`` or ``predictions`` of type JSON or STRING.

    :param columns: names of the table's columns.
    """
    items = ",\n    ".join(f"{expression} AS {name}" for name, expression in row_counts(columns).items())
    return f"""WITH gemini_batch_counts AS (
  SELECT
    {items}
  FROM {table.sql} AS gemini_batch_output
)
{added_up("gemini_batch_counts")}"""


def added_up(rows: str) -> str:
    """Return the query that adds up the tokens of rows by model version, for BigQuery and DuckDB.

    Columns of the result: ``model_version`` (STRING, empty if the rows do not name it), ``row_count``, and the
    token counts of :class:`~airflow_gemini_batch.outputs.usage.Usage` (INT64).

    :param rows: what stands behind FROM, with the columns that :func:`generation_line_counts` names.
    """
    return f"""SELECT
  model_version,
  COUNT(*) AS row_count,
  {token_sums()}
FROM {rows}
WHERE {IS_COUNTED}
GROUP BY model_version"""


def token_sums() -> str:
    """Return the items of a SELECT that add up the tokens of rows, as :func:`added_up` names them."""
    long = f"prompt + tool > {LONG_PROMPT}"
    return f"""SUM(prompt) AS prompt_tokens,
  SUM(output) AS output_tokens,
  SUM(thoughts) AS thoughts_tokens,
  SUM(cached) AS cached_tokens,
  SUM(IF({long}, prompt, 0)) AS long_prompt_tokens,
  SUM(IF({long}, output + thoughts, 0)) AS long_output_tokens,
  SUM(IF({long}, cached, 0)) AS long_cached_tokens,
  SUM(tool) AS tool_tokens,
  SUM(IF({long}, tool, 0)) AS long_tool_tokens,
  SUM(audio) AS audio_tokens,
  SUM(IF({long}, audio, 0)) AS long_audio_tokens,
  SUM(searches) AS searches"""


def row_counts(columns: Collection[str]) -> dict[str, str]:
    """Return what is counted of a row of an output table: names, and expressions over ``gemini_batch_output``.

    :param columns: names of the table's columns.
    """
    return _text_embedding_counts() if "predictions" in columns else _generation_counts()


def generation_line_counts() -> dict[str, str]:
    """Return what is counted of a line with generated content (:class:`.AnswerLines`): names and expressions."""
    usage = "fields.usageMetadata"
    kinds = zip(_KINDS, TOKEN_COLUMNS.values(), strict=True)
    details = f"{usage}.promptTokensDetails"
    audio = f"""IF({details} IS NULL, 0, list_sum(list_transform({details}, lambda detail:
      IF(detail.modality = '{AUDIO}', {_positive("detail.tokenCount")}, 0))))"""
    return {
        "model_version": "IFNULL(fields.modelVersion, '')",
        **{kind: _positive(f"{usage}.{field}") for kind, field in kinds},
        "audio": f"IFNULL({audio}, 0)",
        "searches": "IFNULL(len(fields.candidates[1].groundingMetadata.webSearchQueries), 0)",
    }


def vector_line_counts() -> dict[str, str]:
    """Return what is counted of a line with a vector, which does not name the model."""
    return _of_vectors("IFNULL(token_count, 0)")


def _generation_counts() -> dict[str, str]:
    """Return what is counted of a ``GenerateContentResponse``: names and expressions."""
    response = "gemini_batch_output.response"
    kinds = zip(_KINDS, TOKEN_COLUMNS.values(), strict=True)
    # A modality stands in the list once, so a fixed number of places needs no subquery for each row.
    details = (f"$.usageMetadata.promptTokensDetails[{place}]" for place in range(_MODALITIES))
    audio = "\n      + ".join(
        f"IF(JSON_VALUE({response}, '{detail}.modality') = '{AUDIO}', "
        f"{BIGQUERY.count(response, f'{detail}.tokenCount')}, 0)"
        for detail in details
    )
    queries = f"JSON_QUERY_ARRAY({response}, '$.candidates[0].groundingMetadata.webSearchQueries')"
    return {
        "model_version": f"IFNULL(JSON_VALUE({response}, '$.modelVersion'), '')",
        **{kind: BIGQUERY.count(response, f"$.usageMetadata.{field}") for kind, field in kinds},
        "audio": audio,
        "searches": f"IFNULL(ARRAY_LENGTH({queries}), 0)",
    }


def _text_embedding_counts() -> dict[str, str]:
    """Return what is counted of an embedded text: names and expressions; the row does not name the model."""
    tokens = BIGQUERY.count("gemini_batch_output.predictions", "$[0].embeddings.statistics.token_count")
    return _of_vectors(tokens)


def _of_vectors(tokens: str) -> dict[str, str]:
    return {"model_version": "''", **dict.fromkeys(_COUNTS, "0"), "prompt": tokens}


def _positive(number: str) -> str:
    return f"GREATEST(IFNULL({number}, 0), 0)"
