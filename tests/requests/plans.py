"""Plans for the tests of builds."""

from __future__ import annotations

from typing import Any

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, GENERATE_CONTENT, TEXT_EMBEDDING
from airflow_gemini_batch.requests.embeddings import gemini_embedding_request, text_embedding_request
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import gemini_request

MODEL = "publishers/google/models/gemini-2.5-flash"
PROMPT = "Describe [[ title ]]."
BOOKS = {"isbn": "STRING", "title": "STRING"}


def plan(
    prompt: str = PROMPT,
    *,
    key: tuple[str, ...] = ("isbn",),
    model: str = MODEL,
    request: dict[str, Any] | None = None,
    **options: Any,
) -> BuildPlan:
    """Return a plan.

    :param request: further arguments of :func:`gemini_request`.
    """
    template = gemini_request(PromptTemplate.parse(prompt), **(request or {}))
    return BuildPlan(model=model, family=GENERATE_CONTENT, key=key, template=template, **options)


def text_embedding_plan(
    text: str = "[[ title ]]",
    *,
    key: tuple[str, ...] = ("isbn",),
    task_type: str | None = None,
    title: str | None = None,
    **options: Any,
) -> BuildPlan:
    """Return a plan for a model that reads its requests from several columns."""
    template = text_embedding_request(
        PromptTemplate.parse(text),
        task_type=task_type,
        title=PromptTemplate.parse(title) if title else None,
    )
    return BuildPlan(model="text-embedding-005", family=TEXT_EMBEDDING, key=key, template=template, **options)


def gemini_embedding_plan(
    text: str = "[[ title ]]",
    *,
    model: str = "gemini-embedding-001",
    task_type: str | None = None,
    title: str | None = None,
    output_dimensionality: int | None = None,
    request_format: str | None = None,
    **options: Any,
) -> BuildPlan:
    """Return a plan for a model that reads files only."""
    template = gemini_embedding_request(
        PromptTemplate.parse(text),
        model=model,
        task_type=task_type,
        title=PromptTemplate.parse(title) if title else None,
        output_dimensionality=output_dimensionality,
        request_format=request_format,
    )
    return BuildPlan(model=model, family=GEMINI_EMBEDDING, key=("isbn",), template=template, **options)


def prompts(requests: dict[str, Any]) -> dict[str, str]:
    """Return the prompts of requests."""
    return {key: one["contents"][0]["parts"][0]["text"] for key, one in requests.items()}
