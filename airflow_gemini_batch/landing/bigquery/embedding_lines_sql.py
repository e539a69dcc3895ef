"""The statements that read the files of gemini-embedding models, line by line, and stage their vectors.

A line of requests is ``{"key", "request"}``, one of answers has ``response`` and ``status`` as well. The key says
which vector belongs to which request; for an answer without its key, the request does.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.core.fingerprints import DIGEST_LENGTH
from airflow_gemini_batch.gcp.statements import Parameters, Statement
from airflow_gemini_batch.landing.bigquery.embedding_sql import (
    best_vectors,
    staged_vectors,
    token_count,
    truncated,
)
from airflow_gemini_batch.landing.bigquery.inputs import LINE, LineTable
from airflow_gemini_batch.landing.bigquery.schema_check_sql import parsed_json
from airflow_gemini_batch.landing.bigquery.staging_sql import key_aliases, new_staging_table
from airflow_gemini_batch.landing.plan import LandingPlan

# NaN and infinity, which are not JSON, where a value stands; looked for only in lines that can't be read.
_NO_NUMBERS = r"([:\[,]\s*)-?(?:NaN|Infinity)\b"
_LABEL = "label"


def line_staging_statement(
    plan: LandingPlan,
    staging: BigQueryAddress,
    requests: Sequence[LineTable],
    answers: Sequence[LineTable],
) -> Statement:
    """Return the statement that writes the staging table of vectors, with one row for each request that can be read.

    A request without a key, or with the key of other columns, has NULL there. Vectors are sorted and measured as
    :func:`~airflow_gemini_batch.landing.bigquery.embedding_sql.embedding_staging_statement` does.
    """
    parameters = Parameters()
    answered = _lines(answers, parameters) if answers else "  SELECT * FROM request_lines WHERE FALSE"
    return Statement(
        f"""{new_staging_table(plan, staging)}
WITH request_lines AS (
{_lines(requests, parameters)}
), answer_lines AS (
{answered}
), keyed_requests AS (
  SELECT *, {_request_fields()}
  FROM request_lines
  WHERE JSON_TYPE(JSON_QUERY(content, '$.request')) = 'object'
), request_texts AS (
  SELECT *, {_request_text()} AS request_text
  FROM keyed_requests
), requests AS (
  SELECT
    submission,
    {_LABEL},
    {_key_columns(plan)},
    {_fingerprint()} AS fingerprint,
    job AS last_job,
    round AS last_round,
    written AS request_time,
    request_text,
    FALSE AS ambiguous
  FROM request_texts
), answer_rows AS (
  SELECT *, {_request_fields()}
  FROM answer_lines
), answer_texts AS (
  SELECT *, IF({_LABEL} IS NULL, {_request_text()}, NULL) AS request_text
  FROM answer_rows
), answers AS (
  SELECT
    answer_texts.submission,
    COALESCE(answer_texts.{_LABEL}, requests.{_LABEL}) AS {_LABEL},
    job,
    model,
    round,
    {_answer_fields()}
  FROM answer_texts
  LEFT JOIN requests
    ON requests.submission = answer_texts.submission AND requests.request_text = answer_texts.request_text
), {best_vectors(plan, [_LABEL])}
{staged_vectors(plan, [_LABEL])}""",
        parameters.values,
    )


def unreadable_statement(tables: Sequence[LineTable], path: str) -> Statement:
    """Return the statement that counts the lines without an object at this path."""
    parameters = Parameters()
    return Statement(
        f"""WITH lines AS (
{_lines(tables, parameters)}
)
SELECT COUNTIF(IFNULL(JSON_TYPE(JSON_QUERY(content, '{path}')), 'null') != 'object') FROM lines""",
        parameters.values,
    )


def _lines(tables: Sequence[LineTable], parameters: Parameters) -> str:
    """Return the query for lines and where they are from; ``content`` is NULL for a line that can't be read."""
    repaired = f"REGEXP_REPLACE({LINE}, r'{_NO_NUMBERS}', r'\\1null')"
    selects = [
        f"""  SELECT
    {parameters.bind(one.submission)} AS submission,
    {parameters.bind(one.job)} AS job,
    {parameters.bind(one.model)} AS model,
    {one.round} AS round,
    TIMESTAMP({parameters.bind(one.written)}) AS written,
    COALESCE({parsed_json(LINE)}, {parsed_json(repaired)}) AS content
  FROM {one.table.sql}
  WHERE TRIM({LINE}) != ''"""
        for one in tables
    ]
    return "\n  UNION ALL\n".join(selects)


def _request_fields() -> str:
    """Return items of a SELECT: the key, and the request's fields in either spelling; NULL where there is none."""
    config = ("embed_content_config", "embedContentConfig")
    fields = {
        _LABEL: ["$.key"],
        "request_input": ["$.request.content.parts[0].text", "$.request.content.parts.text"],
        "dimensionality": [
            f"$.request.{config[0]}.output_dimensionality",
            f"$.request.{config[1]}.outputDimensionality",
        ],
        "task_type": [f"$.request.{config[0]}.task_type", f"$.request.{config[1]}.taskType"],
        "title": [f"$.request.{one}.title" for one in config],
    }
    return ",\n    ".join(f"{_first_value(paths)} AS {name}" for name, paths in fields.items())


def _first_value(paths: Sequence[str]) -> str:
    values = [f"JSON_VALUE(content, '{path}')" for path in paths]
    return values[0] if len(values) == 1 else f"COALESCE({', '.join(values)})"


def _request_text() -> str:
    """Return the expression for the request as ``requests.embeddings.gemini_embedding_request`` writes it.

    The line itself won't do: neither an export nor an echo keeps the spelling of what was filled in. It is NULL for a
    request of another shape than ours, such as one of several parts.
    """
    config = [
        "CONCAT('\"output_dimensionality\":', dimensionality)",
        *(
            f"CONCAT('\"{name}\":', IF({name} IS NULL, NULL, TO_JSON_STRING({name})))"
            for name in ("task_type", "title")
        ),
    ]
    has_config = "COALESCE(dimensionality, task_type, title) IS NOT NULL"
    return f"""IF(request_input IS NULL OR JSON_QUERY(content, '$.request.content.parts[1]') IS NOT NULL, NULL, CONCAT(
    '{{"content":{{"parts":[{{"text":', TO_JSON_STRING(request_input), '}}]}}',
    IF({has_config}, CONCAT(',"embed_content_config":{{', ARRAY_TO_STRING([{", ".join(config)}], ','), '}}'), ''),
    '}}'
  ))"""


def _fingerprint() -> str:
    return f"SUBSTR(TO_HEX(SHA256(CONCAT(model, '\\n', request_text))), 1, {DIGEST_LENGTH})"


def _key_columns(plan: LandingPlan) -> str:
    """Return items of a SELECT that split the key, as :func:`airflow_gemini_batch.core.keys.key_values` does."""
    if len(plan.key) == 1:
        return f"{_LABEL} AS {key_aliases(plan.key)[0]}"
    parts = f"SAFE.PARSE_JSON({_LABEL})"
    fits = f"ARRAY_LENGTH(JSON_QUERY_ARRAY({parts})) = {len(plan.key)}"
    return ",\n    ".join(
        f"IF({fits}, JSON_VALUE({parts}, '$[{index}]'), NULL) AS {alias}"
        for index, alias in enumerate(key_aliases(plan.key))
    )


def _answer_fields() -> str:
    """Return items of a SELECT that read an answer, as :func:`.read_embedding`."""
    embeddings = [f"$.response.{name}" for name in ("embedding", "embeddings[0]", "embeddings")]
    vectors = ", ".join(f"JSON_QUERY(content, '{one}.values')" for one in embeddings)
    cuts = ", ".join(truncated("content", f"{one}.statistics.truncated") for one in embeddings)
    tokens = ("$.response.tokenCount", "$.response.usageMetadata.promptTokenCount")
    counts = ", ".join(token_count("content", path) for path in tokens)
    status = "JSON_QUERY(content, '$.status')"
    return f"""COALESCE(SAFE_CAST(JSON_VALUE(content, '$.processed_time') AS TIMESTAMP), written) AS answered_time,
    IF(JSON_TYPE({status}) = 'object', TO_JSON_STRING({status}), JSON_VALUE(content, '$.status')) AS status,
    COALESCE({vectors}) AS vector,
    COALESCE({counts}) AS token_count,
    COALESCE({cuts}) AS truncated"""
