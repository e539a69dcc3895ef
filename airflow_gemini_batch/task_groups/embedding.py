"""The pipeline for text embeddings."""

from __future__ import annotations

from typing import Any

from airflow_gemini_batch.operators.embeddings import (
    BuildEmbeddingRequestsOperator,
    LandEmbeddingsOperator,
    SubmitTextEmbeddingBatchOperator,
)
from airflow_gemini_batch.operators.preflight import PreflightTextEmbeddingBatchOperator
from airflow_gemini_batch.task_groups.pipeline import PipelineTaskGroup


class TextEmbeddingTaskGroup(PipelineTaskGroup):
    """Embed the text of each new row of a table or of files, and land the vectors, ready for search.

    Example::

        TextEmbeddingTaskGroup(
            group_id="embed_books",
            source="bq://shop.books.books",
            key="book_id",
            text="[[ title ]] by [[ authors | an unknown author ]]",
            model="text-embedding-005",
            target="bq://shop.books.vectors",
        )

    Besides these, the parameters of :class:`~airflow_gemini_batch.task_groups.pipeline.PipelineTaskGroup`. Models
    ``gemini-embedding-…`` read files only: give ``requests=`` a ``gs://`` folder, also where the rows are in BigQuery.

    :param text: the column to embed, or a template of several; this, ``task_type``, ``title`` and ``request_format``
        are those of :class:`~airflow_gemini_batch.operators.embeddings.BuildEmbeddingRequestsOperator`.
    :param output_dimensionality: length of the vectors; by default as long as the model makes them.
    :param vector_column: the column that the vector lands in.
    """

    build_operator = BuildEmbeddingRequestsOperator
    submit_operator = SubmitTextEmbeddingBatchOperator
    land_operator = LandEmbeddingsOperator
    preflight_operator = PreflightTextEmbeddingBatchOperator

    def __init__(
        self,
        *,
        group_id: str = "embed",
        text: str,
        task_type: str | None = "RETRIEVAL_DOCUMENT",
        title: str | None = None,
        output_dimensionality: int | None = None,
        vector_column: str = "embedding",
        request_format: str | None = None,
        **pipeline: Any,
    ) -> None:
        vectors = {"output_dimensionality": output_dimensionality, "request_format": request_format}
        super().__init__(
            group_id=group_id,
            asked={"text": text, "task_type": task_type, "title": title, **vectors},
            submitted=vectors,
            landed={"vector_column": vector_column, **vectors},
            **pipeline,
        )
