"""Prompts in JSON Lines files on Cloud Storage → Gemini → answers in files.

One file holds text prompts, the other pictures, video and text in one prompt. Two independent batch jobs run
side by side; the sensors show how another DAG would wait for complete output, follow-up jobs included.

Airflow variables: ``gemini_batch_location`` and ``gemini_batch_bucket`` (required; the bucket has to be in that
location), ``gemini_batch_model``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG, task
from airflow.providers.google.cloud.transfers.local_to_gcs import LocalFilesystemToGCSOperator

from airflow_gemini_batch import GeminiBatchOutputFilesSensor, SubmitGeminiBatchOperator, iter_responses

BUCKET = "{{ var.value.gemini_batch_bucket }}"
LOCATION = "{{ var.value.gemini_batch_location }}"
MODEL = "{{ var.value.get('gemini_batch_model', 'gemini-3.8-flash') }}"
FOLDER = "recipes/{{ run_id }}"
PROMPTS = Path(__file__).parent / "recipes"

with DAG(
    dag_id="recipes_from_files",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["gemini-batch"],
):
    upload_prompts = LocalFilesystemToGCSOperator(
        task_id="upload_prompts",
        src=[str(PROMPTS / "text_prompts.jsonl"), str(PROMPTS / "multimodal_prompts.jsonl")],
        dst=f"{FOLDER}/prompts/",
        bucket=BUCKET,
    )

    @task
    def show_answers(manifest: dict) -> int:
        """Log each answer with the key of its prompt, those of follow-up jobs as well."""
        answered = 0
        for response in iter_responses(manifest):
            print(f"{response.key} ({response.outcome})\n  → {response.text or response.message}")
            answered += response.outcome.answered
        return answered

    for kind in ("text", "multimodal"):
        requests = f"gs://{BUCKET}/{FOLDER}/prompts/{kind}_prompts.jsonl"
        answers = f"gs://{BUCKET}/{FOLDER}/answers/{kind}"
        submit = SubmitGeminiBatchOperator(
            task_id=f"{kind}_recipes",
            model=MODEL,
            requests=requests,
            destination=answers,
            location=LOCATION,
            labels={"team": "kitchen"},
        )
        complete = GeminiBatchOutputFilesSensor(
            task_id=f"{kind}_answers_complete", prefix=answers, expected_rows=requests, location=LOCATION
        )
        upload_prompts >> submit >> complete
        complete >> show_answers.override(task_id=f"show_{kind}_answers")(submit.output)
