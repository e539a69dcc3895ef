"""Batch jobs for text, images, audio and video with Gemini."""

from __future__ import annotations

from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator


class SubmitGeminiBatchOperator(SubmitBatchJobOperator):
    """Run ``generateContent`` requests as one Gemini batch job and return where the answers are.

    Files hold one ``{"request": {GenerateContentRequest}}`` a line; a table holds it in the column ``request``
    (STRING or JSON), and its other columns come back beside the answer. Up to 200,000 requests a job; see
    https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini

    Example::

        describe = SubmitGeminiBatchOperator(
            task_id="describe",
            model="gemini-2.5-flash",
            source="bq://shop.books.requests_{{ ds_nodash }}",
            location="us-central1",
        )
    """
