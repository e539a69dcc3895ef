"""The pipeline for text, images, audio and video with Gemini."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_gemini_batch.operators.gemini import (
    BuildGeminiRequestsOperator,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.operators.preflight import PreflightGeminiBatchOperator
from airflow_gemini_batch.task_groups.pipeline import PipelineTaskGroup


class GeminiEnrichmentTaskGroup(PipelineTaskGroup):
    """Ask Gemini about each new row of a table or of files, and land the answers as typed columns.

    Example::

        GeminiEnrichmentTaskGroup(
            group_id="describe_books",
            source="bq://shop.books.books",
            key="book_id",
            prompt="Describe [[ title ]] by [[ authors | an unknown author ]] in two sentences.",
            model="gemini-2.5-flash",
            response_schema={"description": str, "genres": list[str]},
            target="bq://shop.books.descriptions",
        )

    Besides these, the parameters of :class:`~airflow_gemini_batch.task_groups.pipeline.PipelineTaskGroup`.

    :param prompt: text with a placeholder ``[[ column ]]`` for each value; this, ``system_instruction``,
        ``generation_config``, ``response_schema``, ``safety_settings``, ``media`` and ``tools`` are those of
        :class:`~airflow_gemini_batch.operators.gemini.BuildGeminiRequestsOperator`.
    :param text_column: without a schema, the column that the answer's text lands in.
    """

    build_operator = BuildGeminiRequestsOperator
    submit_operator = SubmitGeminiBatchOperator
    land_operator = LandGeminiResultsOperator
    preflight_operator = PreflightGeminiBatchOperator

    def __init__(
        self,
        *,
        group_id: str = "enrich",
        prompt: str,
        response_schema: Any = None,
        text_column: str = "answer",
        system_instruction: str | None = None,
        generation_config: Mapping[str, Any] | None = None,
        safety_settings: Sequence[Mapping[str, Any]] | None = None,
        media: Sequence[str] | Mapping[str, str | None] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **pipeline: Any,
    ) -> None:
        super().__init__(
            group_id=group_id,
            asked={
                "prompt": prompt,
                "system_instruction": system_instruction,
                "generation_config": generation_config,
                "response_schema": response_schema,
                "safety_settings": safety_settings,
                "media": media,
                "tools": tools,
            },
            submitted={},
            landed={"response_schema": response_schema, "text_column": text_column},
            **pipeline,
        )
