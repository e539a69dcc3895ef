"""The rules of embedding requests of both families, as strict as the service's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING

TaskType = Literal[
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
]
TASK_TYPES: tuple[str, ...] = get_args(TaskType)


def text_embedding_faults(instance: Mapping[str, Any]) -> Iterator[str]:
    """Hold ``{"content", "task_type", "title"}`` against the rules of the text-embedding family."""
    content = instance.get("content")
    if not isinstance(content, str) or not content.strip():
        yield "The text content is empty."
    yield from _task_faults(instance.get("task_type"), instance.get("title"))


def gemini_embedding_faults(request: Mapping[str, Any]) -> Iterator[str]:
    """Hold an EmbedContentRequest, once it is read, against the rules of the gemini-embedding family."""
    if not embedded_text(request).strip():
        yield "The content is empty: at least one part with text or a file is required."
    config, flat = embed_settings(request), request
    for name, value in request.get("embedContentConfig", {}).items():
        if flat.get(name, value) != value:
            yield f"{name} is {flat[name]!r} beside the content and {value!r} in embed_content_config."
    yield from _task_faults(config.get("taskType"), config.get("title"))
    longest = GEMINI_EMBEDDING.dimensions
    dimensions = int(config.get("outputDimensionality", longest))
    if not 1 <= dimensions <= longest:
        yield f"output_dimensionality is {dimensions}, not a number from 1 to {longest}."


def embed_settings(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings of an EmbedContentRequest that was read, whether they stand beside the content or nested."""
    return {**request, **request.get("embedContentConfig", {})}


def embedded_text(request: Mapping[str, Any]) -> str:
    """Return the text of an EmbedContentRequest that was read: its parts, with a space between two.

    A file counts by its address, or by its bytes as base64.
    """
    return " ".join(map(_part_text, _parts(request)))


def _part_text(part: Mapping[str, Any]) -> str:
    file, blob = part.get("fileData", {}), part.get("inlineData", {})
    return str(part.get("text") or file.get("fileUri") or blob.get("data") or "")


def _parts(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = request.get("content", {}).get("parts", [])
    return parts


def _task_faults(task_type: object, title: object) -> Iterator[str]:
    if task_type is not None and task_type not in TASK_TYPES:
        yield f"Unsupported task type {task_type!r}. Use one of {', '.join(TASK_TYPES)}."
    if title and task_type != "RETRIEVAL_DOCUMENT":
        yield "A title is only valid with the task type RETRIEVAL_DOCUMENT."
