"""Every night: a description for each new book of an online bookshop, written by Gemini at batch price.

Books without a description → one request each, in a BigQuery table → one Gemini batch job → descriptions beside the
books, and a table of those that failed, with the reason. Stock operators do what they always did; the one in
the middle submits the job and hands the wait to the triggerer.

Airflow variables: ``gemini_batch_project`` and ``gemini_batch_location`` (required),
``gemini_batch_dataset`` (default ``bookshop``; it holds the table ``books``), ``gemini_batch_model``.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator

from airflow_gemini_batch import SubmitGeminiBatchOperator

PROJECT = "{{ var.value.gemini_batch_project }}"
LOCATION = "{{ var.value.gemini_batch_location }}"
DATASET = "{{ var.value.get('gemini_batch_dataset', 'bookshop') }}"
MODEL = "{{ var.value.get('gemini_batch_model', 'gemini-2.5-flash') }}"

# One table of requests for each run; BigQuery drops it by itself a week later.
REQUESTS = f"{PROJECT}.{DATASET}.description_requests_{{{{ run_id | table_suffix }}}}"
ANSWERS = "{{ ti.xcom_pull('describe')['outputs'][0].removeprefix('bq://') }}"
DESCRIPTIONS = f"{PROJECT}.{DATASET}.book_descriptions"
FAILURES = f"{PROJECT}.{DATASET}.book_descriptions_failed"

CREATE_TABLES = f"""
CREATE TABLE IF NOT EXISTS `{DESCRIPTIONS}` (
  book_id STRING NOT NULL, description STRING, model STRING, written_at TIMESTAMP
);
CREATE TABLE IF NOT EXISTS `{FAILURES}` (
  book_id STRING NOT NULL, reason STRING, model STRING, failed_at TIMESTAMP
);
"""

BUILD_REQUESTS = f"""
CREATE OR REPLACE TABLE `{REQUESTS}`
OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 7 DAY))
AS SELECT
  book_id,
  TO_JSON_STRING(JSON_OBJECT(
    'contents', JSON_ARRAY(JSON_OBJECT(
      'role', 'user',
      'parts', JSON_ARRAY(JSON_OBJECT('text', CONCAT(
        'Write a description of this book for an online bookshop, in two sentences, without praise.',
        '\\nTitle: ', title,
        '\\nBy: ', COALESCE(authors, 'unknown'),
        '\\nFirst published: ', COALESCE(CAST(CAST(original_publication_year AS INT64) AS STRING), 'unknown'),
        '\\nLanguage: ', COALESCE(language_code, 'unknown')
      )))
    )),
    'generationConfig', JSON_OBJECT('temperature', 0.2, 'maxOutputTokens', 512)
  )) AS request
FROM `{PROJECT}.{DATASET}.books`
WHERE book_id NOT IN (SELECT book_id FROM `{DESCRIPTIONS}`)
"""

# A row is usable when Vertex AI reports no error for it and the model came to its end.
LAND_DESCRIPTIONS = f"""
MERGE INTO `{DESCRIPTIONS}` AS target
USING (
  SELECT
    book_id,
    JSON_VALUE(response, '$.candidates[0].content.parts[0].text') AS description,
    JSON_VALUE(response, '$.modelVersion') AS model
  FROM `{ANSWERS}`
  WHERE JSON_VALUE(response, '$.candidates[0].finishReason') = 'STOP' AND IFNULL(status, '') = ''
) AS answer
ON target.book_id = answer.book_id
WHEN MATCHED THEN UPDATE SET
  description = answer.description, model = answer.model, written_at = CURRENT_TIMESTAMP()
WHEN NOT MATCHED THEN INSERT (book_id, description, model, written_at)
  VALUES (answer.book_id, answer.description, answer.model, CURRENT_TIMESTAMP())
"""

LAND_FAILURES = f"""
INSERT INTO `{FAILURES}` (book_id, reason, model, failed_at)
SELECT
  request.book_id,
  COALESCE(
    NULLIF(answer.status, ''),
    JSON_VALUE(answer.response, '$.promptFeedback.blockReason'),
    JSON_VALUE(answer.response, '$.candidates[0].finishReason'),
    'no answer'
  ),
  '{MODEL}',
  CURRENT_TIMESTAMP()
FROM `{REQUESTS}` AS request
LEFT JOIN `{ANSWERS}` AS answer ON answer.book_id = request.book_id
WHERE request.book_id NOT IN (SELECT book_id FROM `{DESCRIPTIONS}`)
"""


def run_sql(task_id: str, sql: str) -> BigQueryInsertJobOperator:
    return BigQueryInsertJobOperator(
        task_id=task_id,
        configuration={"query": {"query": sql, "useLegacySql": False}},
        project_id=PROJECT,
        location=LOCATION,
    )


with DAG(
    dag_id="nightly_book_descriptions",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    user_defined_filters={"table_suffix": lambda text: re.sub(r"\W", "_", text)},
    doc_md=__doc__,
    tags=["gemini-batch"],
):

    @task.short_circuit
    def any_new_books(requests: str) -> bool:
        """Without new books there is nothing to submit, and the rest of the night is skipped."""
        from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

        return bool(BigQueryHook().get_client().get_table(requests).num_rows)

    describe = SubmitGeminiBatchOperator(
        task_id="describe",
        model=MODEL,
        source=f"bq://{REQUESTS}",
        project_id=PROJECT,
        location=LOCATION,
        labels={"team": "bookshop"},
        max_failed_fraction=0.5,
    )

    (
        run_sql("create_tables", CREATE_TABLES)
        >> run_sql("build_requests", BUILD_REQUESTS)
        >> any_new_books(REQUESTS)
        >> describe
        >> run_sql("land_descriptions", LAND_DESCRIPTIONS)
        >> run_sql("land_failures", LAND_FAILURES)
    )
