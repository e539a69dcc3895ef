"""Every night: vectors for the new books of an online bookshop, and the books nearest to a phrase.

Books that have no vector yet → one batch job → a column of vectors, in ``book_vectors``. A phrase is embedded the same
way, as a query, and one statement puts the books nearest to it into ``nearest_books``. Over many rows, write it with
``VECTOR_SEARCH`` and a vector index: the column is of the type that they take.

Airflow variables: ``gemini_batch_project`` and ``gemini_batch_location`` (required), ``gemini_batch_dataset`` (default
``bookshop``; it holds the table ``books``), ``gemini_batch_embedding_model``. The phrase is a parameter of the run.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator

from airflow_gemini_batch import TextEmbeddingTaskGroup

PROJECT = "{{ var.value.gemini_batch_project }}"
LOCATION = "{{ var.value.gemini_batch_location }}"
DATASET = f"{PROJECT}.{{{{ var.value.get('gemini_batch_dataset', 'bookshop') }}}}"
MODEL = "{{ var.value.get('gemini_batch_embedding_model', 'text-embedding-005') }}"

FIND_NEAREST = f"""
CREATE OR REPLACE TABLE `{DATASET}.nearest_books` AS
SELECT
  phrase.phrase,
  books.book_id,
  books.title,
  COSINE_DISTANCE(vectors.embedding, phrase.embedding) AS distance
FROM `{DATASET}.book_vectors` AS vectors
JOIN `{DATASET}.books` AS books ON books.book_id = vectors.book_id
CROSS JOIN `{DATASET}.phrase_vectors` AS phrase
WHERE phrase.phrase = {{{{ params.phrase | tojson }}}}
ORDER BY distance
LIMIT 10
"""

with DAG(
    dag_id="nightly_book_embeddings",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"phrase": "a school for young wizards"},
    doc_md=__doc__,
    tags=["gemini-batch"],
):
    books = TextEmbeddingTaskGroup(
        group_id="embed_books",
        source=f"bq://{DATASET}.books",
        key="book_id",
        text="[[ title ]] by [[ authors | an unknown author ]]",
        model=MODEL,
        task_type="RETRIEVAL_DOCUMENT",
        target=f"bq://{DATASET}.book_vectors",
        project_id=PROJECT,
        location=LOCATION,
        max_cost_usd=10,
        unpriced="allow",  # text-embedding models are billed by the character, and have no price here
        max_failed_fraction=0.5,
    )
    phrase = TextEmbeddingTaskGroup(
        group_id="embed_phrase",
        source="SELECT {{ params.phrase | tojson }} AS phrase",
        key="phrase",
        text="phrase",
        model=MODEL,
        task_type="RETRIEVAL_QUERY",
        target=f"bq://{DATASET}.phrase_vectors",
        project_id=PROJECT,
        location=LOCATION,
    )
    find_nearest = BigQueryInsertJobOperator(
        task_id="find_nearest",
        configuration={"query": {"query": FIND_NEAREST, "useLegacySql": False}},
        project_id=PROJECT,  # no location, which is no template there: BigQuery finds it by the tables
        # Without new books, or with a phrase that has its vector, the groups are skipped, and there is still a result.
        trigger_rule="none_failed",
    )
    [books, phrase] >> find_nearest
