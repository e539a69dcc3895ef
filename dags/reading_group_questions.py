"""Prompts made in Python → Gemini → answers read in Python: ``@task.gemini_batch``.

The function yields a prompt for each book; they are streamed to Cloud Storage, and the task waits for its batch job in
the triggerer. Its result is where the answers are, and ``iter_responses`` reads them one by one, by key.

Airflow variables: ``gemini_batch_location`` and ``gemini_batch_bucket`` (required; the bucket has to be in that
location), ``gemini_batch_model``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_gemini_batch import iter_responses

BOOKS = {
    "emma": "Emma by Jane Austen",
    "frankenstein": "Frankenstein by Mary Shelley",
    "middlemarch": "Middlemarch by George Eliot",
}

with DAG(
    dag_id="reading_group_questions",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["gemini-batch"],
):

    @task.gemini_batch(
        model="{{ var.value.get('gemini_batch_model', 'gemini-3.8-flash') }}",
        requests="gs://{{ var.value.gemini_batch_bucket }}/reading_group",
        location="{{ var.value.gemini_batch_location }}",
        system_instruction="You lead a reading group. Be brief.",
    )
    def ask_for_questions() -> Iterator[tuple[str, str]]:
        for key, book in BOOKS.items():
            yield key, f"Write three questions about {book} that start a conversation."

    @task
    def show_questions(manifest: dict) -> int:
        answered = 0
        for response in iter_responses(manifest):
            print(f"{BOOKS[response.key]} ({response.outcome})\n  → {response.text}")
            answered += 1
        return answered

    show_questions(ask_for_questions())
