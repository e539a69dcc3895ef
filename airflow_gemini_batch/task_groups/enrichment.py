"""The pipeline for text, images, audio and video with Gemini."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from airflow_gemini_batch.operators.gemini import (
    BuildGeminiRequestsOperator,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.operators.preflight import PreflightGeminiBatchOperator
from airflow_gemini_batch.task_groups.pipeline import PipelineOptions, PipelineTaskGroup, Source


class GeminiEnrichmentTaskGroup(PipelineTaskGroup):
    """Ask Gemini about each new row of a table or of files, and land the answers as typed columns.

    Example::

        GeminiEnrichmentTaskGroup(
            group_id="describe_books",
            source="bq://my-shop.books.books",
            key="book_id",
            prompt="Describe [[ title ]] by [[ authors | an unknown author ]] in two sentences.",
            model="gemini-3.8-flash",
            response_schema={"description": str, "genres": list[str]},
            target="bq://my-shop.books.descriptions",
        )

    The optional parameters are those below and those of
    :class:`~airflow_gemini_batch.task_groups.pipeline.PipelineOptions`.

    :param source: a ``bq://`` table, a query (``SELECT …``), files (CSV, JSON Lines or Parquet; ``gs://`` or local
        paths, patterns too; also as path objects), or rows: an iterable of dicts, an Arrow table or DataFrame, or a
        function that returns one.
    :param key: the column, or columns, that identify a row.
    :param prompt: text with a placeholder ``[[ column ]]`` for each value; ``[[ column | text ]]`` says what stands
        for NULL.
    :param model: plain or resource name of the model.
    :param target: a ``bq://`` table, or a ``.parquet`` or ``.jsonl`` file: ``gs://…`` or a local path.
    :param response_schema: fields of an answer, each of which lands in a column: a Pydantic model, a dataclass, a dict
        of names and types, or a JSON schema.
    :param text_column: without a schema, the column that the answer's text lands in.
    :param system_instruction: an instruction for all rows.
    :param generation_config: ``GenerationConfig`` fields, such as ``{"temperature": 0.2, "maxOutputTokens": 512}``.
    :param safety_settings: list of ``{"category": …, "threshold": …}``.
    :param media: columns with addresses (``gs://`` or https) of images, audio, video or documents: a list of names, or
        a dict with their MIME types (``None``: by each file's ending).
    :param media_prefixes: what these addresses may begin with, such as ``["gs://shop/"]``; a row with another one is
        bad. By default any bucket and any public host.
    :param tools: list of ``Tool`` objects.
    """

    build_operator = BuildGeminiRequestsOperator
    submit_operator = SubmitGeminiBatchOperator
    land_operator = LandGeminiResultsOperator
    preflight_operator = PreflightGeminiBatchOperator

    def __init__(
        self,
        *,
        group_id: str = "enrich",
        source: Source,
        key: str | Sequence[str],
        prompt: str,
        model: str,
        target: str,
        response_schema: Any = None,
        text_column: str = "answer",
        system_instruction: Any = None,
        generation_config: Any = None,
        safety_settings: Any = None,
        media: Sequence[str] | Mapping[str, str | None] | None = None,
        media_prefixes: str | Sequence[str] | None = None,
        tools: Any = None,
        **options: Unpack[PipelineOptions],
    ) -> None:
        super().__init__(
            group_id=group_id,
            source=source,
            key=key,
            model=model,
            target=target,
            build_arguments={
                "prompt": prompt,
                "response_schema": response_schema,
                "system_instruction": system_instruction,
                "generation_config": generation_config,
                "safety_settings": safety_settings,
                "media": media,
                "media_prefixes": media_prefixes,
                "tools": tools,
            },
            submit_arguments={},
            land_arguments={"response_schema": response_schema, "text_column": text_column},
            options=options,
        )
