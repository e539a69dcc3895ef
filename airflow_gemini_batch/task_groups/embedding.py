"""The pipeline for text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from airflow_gemini_batch.operators.embeddings import (
    BuildEmbeddingRequestsOperator,
    LandEmbeddingsOperator,
    SubmitTextEmbeddingBatchOperator,
)
from airflow_gemini_batch.operators.preflight import PreflightTextEmbeddingBatchOperator
from airflow_gemini_batch.task_groups.pipeline import PipelineOptions, PipelineTaskGroup, Source

if TYPE_CHECKING:
    from airflow_gemini_batch.requests.validation.embed_content import TaskType


class TextEmbeddingTaskGroup(PipelineTaskGroup):
    """Embed the text of each new row of a table or of files, and land the vectors, ready for search.

    Example::

        TextEmbeddingTaskGroup(
            group_id="embed_books",
            source="bq://my-shop.books.books",
            key="book_id",
            text="[[ title ]] by [[ authors | an unknown author ]]",
            model="text-embedding-005",
            target="bq://my-shop.books.vectors",
        )

    The optional parameters are those below and those of
    :class:`~airflow_gemini_batch.task_groups.pipeline.PipelineOptions`. Models ``gemini-embedding-…`` read files only:
    give ``requests=`` a ``gs://`` folder, also where the rows are in BigQuery.

    :param source: a ``bq://`` table, a query (``SELECT …``), files (CSV, JSON Lines or Parquet; ``gs://`` or local
        paths, patterns too; also as path objects), or rows: an iterable of dicts, an Arrow table or DataFrame, or a
        function that returns one.
    :param key: the column, or columns, that identify a row.
    :param text: the column to embed, or a template of several: ``[[ title ]] by [[ authors | unknown ]]``.
    :param model: plain or resource name of the model.
    :param target: a ``bq://`` table, or a ``.parquet`` or ``.jsonl`` file: ``gs://…`` or a local path.
    :param task_type: what the vectors are for; ``None`` leaves it to the model.
    :param title: the documents' title: a column, or a template.
    :param output_dimensionality: length of the vectors; by default as long as the model makes them.
    :param vector_column: the column that the vector lands in.
    :param request_format: for a model that is not known by its name (a tuned one, say): ``text_embedding`` or
        ``gemini_embedding``. Models of the second kind read their settings in ``embed_content_config``, as Google's
        page shows it; ``flat`` writes them beside the content, ``nested`` says what is the default. Another format is
        another request: rows are asked again.
    """

    build_operator = BuildEmbeddingRequestsOperator
    submit_operator = SubmitTextEmbeddingBatchOperator
    land_operator = LandEmbeddingsOperator
    preflight_operator = PreflightTextEmbeddingBatchOperator

    def __init__(
        self,
        *,
        group_id: str = "embed",
        source: Source,
        key: str | Sequence[str],
        text: str,
        model: str,
        target: str,
        task_type: TaskType | None = "RETRIEVAL_DOCUMENT",
        title: str | None = None,
        output_dimensionality: int | None = None,
        vector_column: str = "embedding",
        request_format: str | None = None,
        **options: Unpack[PipelineOptions],
    ) -> None:
        vectors = {"output_dimensionality": output_dimensionality, "request_format": request_format}
        super().__init__(
            group_id=group_id,
            source=source,
            key=key,
            model=model,
            target=target,
            build_arguments={"text": text, "task_type": task_type, "title": title, **vectors},
            submit_arguments=vectors,
            land_arguments={"vector_column": vector_column, **vectors},
            options=options,
        )
