"""A text → one embedding request, in the form of either family of models."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson

from airflow_gemini_batch.core.model_families import (
    FAMILIES,
    GEMINI_EMBEDDING,
    TEXT_EMBEDDING,
    ModelFamily,
    family_of,
)
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.requests.prompts import Placeholder, PromptTemplate
from airflow_gemini_batch.requests.templates import RequestTemplate, TextSlot
from airflow_gemini_batch.requests.validation.embed_content import TASK_TYPES

_TITLED_TASK = "RETRIEVAL_DOCUMENT"

# https://ai.google.dev/gemini-api/docs/embeddings
_READS_TASK_IN_TEXT = "gemini-embedding-2"
_NO_TITLE = "none"

NESTED, FLAT = "nested", "flat"
"""Where a gemini-embedding request has its settings: in ``embed_content_config``, or beside ``content``."""

_SLOT = "[[ slot ]]"


def embedding_family(model: str, request_format: str | None = None) -> ModelFamily:
    """Return the family of an embedding model.

    :param request_format: what the user says: of a model that is not known by its name ``text_embedding`` or
        ``gemini_embedding``, of the second kind also :data:`NESTED` or :data:`FLAT`.

    Raises :class:`ValueError` for a model that generates text, for an unknown one of which nothing is said, and for one
    of which something else is known.
    """
    name, known = short_model_name(model), family_of(model)
    families = {name: family for name, family in FAMILIES.items() if family.embeds}
    choices = " or ".join(f"request_format={name!r}" for name in families)
    families |= dict.fromkeys((NESTED, FLAT), GEMINI_EMBEDDING)
    if request_format is None:
        if known is None:
            raise ValueError(f"{name} does not belong to a known family of embedding models: give {choices}")
        if not known.embeds:
            raise ValueError(
                f"{name} generates text: use the operators for Gemini, or, where it is an embedding model all the same "
                f"(a tuned one, say), give {choices}"
            )
        return known
    if request_format not in families:
        raise ValueError(
            f"request_format is {request_format!r}: give {choices}, or of the latter {NESTED!r} or {FLAT!r}"
        )
    if known and known.embeds and known is not families[request_format]:
        raise ValueError(f"request_format is {request_format!r}, but {name} reads {known}: leave it out")
    return families[request_format]


def column_or_template(text: str, name: str) -> PromptTemplate:
    """Return the template of a text that is the name of a column, unless it has placeholders.

    :param name: of the parameter, for the message of the :class:`ValueError` that an empty text raises.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"{name} is {text!r}: give a column, or a template such as '[[ title ]] by [[ authors ]]'"
        )
    template = PromptTemplate.parse(text)
    return template if template.columns else PromptTemplate((Placeholder(text.strip()),))


def text_embedding_request(
    prompt: PromptTemplate,
    *,
    model: str = "",
    task_type: str | None = None,
    title: PromptTemplate | None = None,
    output_dimensionality: int | None = None,
    request_format: str | None = None,
) -> RequestTemplate:
    """Return the template of ``{"content", "task_type", "title"}``, for the text-embedding family.

    In a table these are columns. Model and format change nothing, and the length of the vectors is not up to a row: see
    :func:`model_parameters_of`. A row whose title is NULL gets an empty one, which counts as none.

    Raises :class:`ValueError` for an unknown task type, for a title without the task type RETRIEVAL_DOCUMENT, and for a
    length that these vectors can't have.
    """
    _check_dimensions(TEXT_EMBEDDING, output_dimensionality)
    _check_task(task_type, title)
    return _template(prompt, {"content": prompt, "task_type": task_type, "title": title})


def gemini_embedding_request(
    prompt: PromptTemplate,
    *,
    model: str,
    task_type: str | None = None,
    title: PromptTemplate | None = None,
    output_dimensionality: int | None = None,
    request_format: str | None = None,
) -> RequestTemplate:
    """Return the template of an ``EmbedContentRequest``, for the gemini-embedding family.

    Its settings are nested unless the format is :data:`FLAT`. Google's page of these batches nests them, for both
    generations of models, and the proto calls the flat fields deprecated; others report jobs that failed with nested
    ones, or paid no heed to them: https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/batch-prediction-genai-embeddings

    The models ``gemini-embedding-2…`` ignore the fields of task and title. For them the text of a document becomes
    ``title: … | text: …``, with ``none`` where there is no title, and another task type is refused. For the others a
    row whose title is NULL gets an empty one, which counts as none.

    Raises :class:`ValueError` for a task type that is unknown or would be ignored, for a title without the task type
    RETRIEVAL_DOCUMENT, and for a length that these vectors can't have.
    """
    _check_dimensions(GEMINI_EMBEDDING, output_dimensionality)
    _check_task(task_type, title)
    text = prompt
    if short_model_name(model).startswith(_READS_TASK_IN_TEXT):
        if task_type not in (None, _TITLED_TASK):
            raise ValueError(
                f"{short_model_name(model)} ignores task_type, which is {task_type!r}: set task_type=None and say it "
                "in the text, as 'task: search result | query: [[ question ]]' does"
            )
        text = _titled(prompt, title) if task_type else prompt
        task_type = title = None
    config = {"output_dimensionality": output_dimensionality, "task_type": task_type, "title": title}
    settings = config if request_format == FLAT else {"embed_content_config": _given(config) or None}
    return _template(prompt, {"content": {"parts": [{"text": text}]}, **settings})


def model_parameters_of(family: ModelFamily, output_dimensionality: int | None = None) -> dict[str, str]:
    """Return the ``modelParameters`` of a job; empty where each row says how long its vector is to be.

    Raises :class:`ValueError` for a length that the family's vectors can't have.
    """
    _check_dimensions(family, output_dimensionality)
    if not family.dimensions_per_job or output_dimensionality is None:
        return {}
    return {"outputDimensionality": str(output_dimensionality)}


def _template(prompt: PromptTemplate, fields: Mapping[str, Any]) -> RequestTemplate:
    """Return the template of these fields as a JSON object; a prompt template within them becomes a slot."""
    given = _given(fields)
    slots: list[TextSlot] = []

    def leave_slot(text: PromptTemplate) -> str:
        slots.append(TextSlot(text))
        return _SLOT

    content = orjson.dumps(given, default=leave_slot, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    first, *texts = content.decode().split(f'"{_SLOT}"')
    rest = (part for pair in zip(slots, texts, strict=True) for part in pair)
    return RequestTemplate((first, *rest), prompt, given)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _titled(prompt: PromptTemplate, title: PromptTemplate | None) -> PromptTemplate:
    parts = title.parts if title else (_NO_TITLE,)
    if len(parts) == 1 and isinstance(parts[0], Placeholder) and not parts[0].default:
        parts = (dataclasses.replace(parts[0], default=_NO_TITLE),)
    return PromptTemplate(("title: ", *parts, " | text: ", *prompt.parts))


def _check_task(task_type: str | None, title: PromptTemplate | None) -> None:
    if task_type is not None and task_type not in TASK_TYPES:
        raise ValueError(f"task_type is {task_type!r}: use one of {', '.join(TASK_TYPES)}, or None")
    if title is not None and task_type != _TITLED_TASK:
        raise ValueError(
            f"title is read with task_type={_TITLED_TASK!r} only, and task_type is {task_type!r}: set it, or write "
            "the title into the text"
        )


def _check_dimensions(family: ModelFamily, dimensions: int | None) -> None:
    longest = family.dimensions
    if dimensions is not None and not (
        isinstance(dimensions, int) and not isinstance(dimensions, bool) and 1 <= dimensions <= longest
    ):
        raise ValueError(f"output_dimensionality is {dimensions!r}: give a whole number from 1 to {longest}")
