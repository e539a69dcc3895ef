"""Every night: descriptions for the new books of an online bookshop, written by Gemini at batch price.

Books that are not described yet → one request each → one Gemini batch job → description, genres and audience in
columns of their own, beside the book's key. Rows without an answer go to ``book_descriptions__failed``, with the
reason.

When the prompt, the model or the schema changes, 20 books are asked first, and a person decides about the others in
Airflow, with the old and the new answers side by side. ``gemini-batch rollback`` brings the old descriptions back.

Airflow variables: ``gemini_batch_project`` and ``gemini_batch_location`` (required),
``gemini_batch_dataset`` (default ``bookshop``; it holds the table ``books``), ``gemini_batch_model``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Asset, Param

from airflow_gemini_batch import Canary, GeminiEnrichmentTaskGroup

DATASET = "bq://{{ var.value.gemini_batch_project }}.{{ var.value.get('gemini_batch_dataset', 'bookshop') }}"

# `book_descriptions_report` is scheduled on it. Without a template in the target, the asset is the target itself.
DESCRIPTIONS = Asset("book_descriptions")

PROMPT = """
Title: [[ title ]]
By: [[ authors | unknown ]]
First published: [[ original_publication_year | unknown ]]
Language: [[ language_code | unknown ]]

Describe this book for an online bookshop, {{ params.style }}. Name its genres, and whom it is for.
"""

with DAG(
    dag_id="nightly_book_descriptions",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["gemini-batch"],
    # Another style is another question. Trigger the DAG with one, and see what it does before it touches the table.
    params={
        "style": Param("in two sentences, without praise", type="string", title="Style of the descriptions")
    },
):
    GeminiEnrichmentTaskGroup(
        group_id="describe_books",
        source=f"{DATASET}.books",
        key="book_id",
        prompt=PROMPT,
        model="{{ var.value.get('gemini_batch_model', 'gemini-3.8-flash') }}",
        generation_config={"temperature": 0.2, "maxOutputTokens": 512},
        response_schema={"description": str, "genres": list[str], "for_children": bool},
        target=f"{DATASET}.book_descriptions",
        outlets=[DESCRIPTIONS],
        project_id="{{ var.value.gemini_batch_project }}",
        location="{{ var.value.gemini_batch_location }}",
        labels={"team": "bookshop"},
        max_cost_usd=50,
        max_failed_fraction=0.5,
        # Of a changed question 20 books are asked first; then a person compares the answers, and decides.
        canary=Canary(rows=20, approve="person"),
        keep_previous=timedelta(days=14),
    )
