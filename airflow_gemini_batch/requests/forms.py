"""The form of a request by family of models: its template, its line of a file or columns of a table, and its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_gemini_batch.core.model_families import (
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.requests.embeddings import gemini_embedding_request, text_embedding_request
from airflow_gemini_batch.requests.lines import LineForm, content_line, request_line
from airflow_gemini_batch.requests.templates import RequestTemplate, gemini_request
from airflow_gemini_batch.requests.validation.embed_content import (
    embedded_text,
    gemini_embedding_faults,
    text_embedding_faults,
)
from airflow_gemini_batch.requests.validation.fields import EMBED_CONTENT_REQUEST, GENERATE_CONTENT_REQUEST
from airflow_gemini_batch.requests.validation.generate_content import (
    generation_doubts,
    generation_faults,
)
from airflow_gemini_batch.requests.validation.losses import cut_text, textless_answers
from airflow_gemini_batch.requests.validation.proto_json import WireError, read

_REFUSED_TYPES = ("ARRAY", "STRUCT", "RECORD", "RANGE", "DATETIME", "GEOGRAPHY")


class RequestForm(NamedTuple):
    """How requests for one family are written and checked.

    :param template: makes the template of one request from the prompt and the family's own options.
    :param line: makes the line of a key and a filled template, with the key in front and a line end; raises
        :class:`~airflow_gemini_batch.requests.templates.BadRowError` for a key with a lone surrogate.
    :param check: says all that is wrong with one request for a model, and adds to a list what may be wrong; raises
        :class:`.WireError` for one that can't be read.
    :param main_field: of a request; tells a bare request from a row that holds one.
    :param example: of a row.
    """

    template: Callable[..., RequestTemplate]
    line: LineForm
    check: Callable[[Any, str, list[str]], Iterable[str]]
    main_field: str
    example: str


def _check_generation(request: Any, model: str, doubts: list[str]) -> list[str]:
    content = read(request, GENERATE_CONTENT_REQUEST, doubts=doubts)
    errors = list(generation_faults(content, model))
    doubts += generation_doubts(content, model)
    if not errors:
        doubts += textless_answers(content)
    return errors


def _check_gemini_embedding(request: Any, model: str, doubts: list[str]) -> list[str]:
    content = read(request, EMBED_CONTENT_REQUEST, doubts=doubts)
    errors = list(gemini_embedding_faults(content))
    if not errors:
        doubts += cut_text(embedded_text(content), model)
    return errors


FORMS: Mapping[ModelFamily, RequestForm] = {
    GENERATE_CONTENT: RequestForm(
        gemini_request,
        request_line,
        _check_generation,
        "contents",
        '{"request": {"contents": [{"role": "user", "parts": [{"text": "…"}]}]}}',
    ),
    GEMINI_EMBEDDING: RequestForm(
        gemini_embedding_request,
        request_line,
        _check_gemini_embedding,
        "content",
        '{"key": "…", "request": {"content": {"parts": [{"text": "…"}]}}}',
    ),
    TEXT_EMBEDDING: RequestForm(
        text_embedding_request,
        content_line,
        lambda request, *_: text_embedding_faults(request),
        "content",
        '{"content": "…"}',
    ),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in a request.

    :param errors: why it will be rejected.
    :param doubts: what may be wrong with it, for all that this release knows.
    """

    errors: list[str]
    doubts: list[str] = field(default_factory=list)


def check_row(row: Mapping[str, Any], family: ModelFamily, model: str = "") -> Checked:
    """Check a line of a request file, or a row of a request table.

    :param row: the decoded line; of a table the columns that the model reads, decoded.
    :param model: plain or resource name; empty when it is not known.
    """
    if error := _other_form(row, family):
        return Checked([error])
    return check_request(row if family.is_flat else row["request"], family, model)


def check_request(request: object, family: ModelFamily, model: str = "") -> Checked:
    """Check one request, without what is around it.

    :param request: a GenerateContentRequest, an EmbedContentRequest, or ``{"content", "task_type", "title"}``.
    :param model: plain or resource name; empty when it is not known.
    """
    if family.is_flat and not isinstance(request, Mapping):
        return Checked(["the row is not an object"])
    doubts: list[str] = []
    try:
        return Checked(list(FORMS[family].check(request, model, doubts)), doubts)
    except WireError as error:
        return Checked([str(error)], doubts)
    except RecursionError:
        return Checked(["the request is nested too deeply to be read"])


def row_faults(row: Mapping[str, Any], family: ModelFamily) -> list[str]:
    """Return only the errors of :func:`check_row`."""
    return check_row(row, family).errors


def request_faults(request: object, family: ModelFamily) -> list[str]:
    """Return only the errors of :func:`check_request`."""
    return check_request(request, family).errors


def _other_form(row: Mapping[str, Any], family: ModelFamily) -> str | None:
    """Recognise a row that was written for another reader, and say what to write instead."""
    form = FORMS[family]
    inner = row.get("body", row.get("request", row))
    if isinstance(inner, Mapping) and "messages" in inner and form.main_field not in inner:
        return f'a chat in OpenAI\'s form ("messages"): write it as {form.example}'
    if family.main_column in row:
        return None
    if family.is_flat:
        beside = " (this looks like a row for Gemini models)" if "request" in row else ""
        return f'there is no "{family.main_column}"{beside}: write {form.example}'
    if form.main_field in row:
        return 'a bare request, without the key "request" around it: wrap it in {"request": …}'
    return f'there is no "request": write {form.example}'


def column_faults(columns: Iterable[tuple[str, str]], family: ModelFamily) -> Iterator[str]:
    """Say what keeps a job from reading a table of requests.

    :param columns: names and BigQuery types; ``ARRAY`` for a repeated column, whatever it repeats.
    """
    present = dict(columns)
    main = family.main_column
    types = ("STRING",) if family.is_flat else ("JSON", "STRING")
    allowed = " or ".join(types)
    if main not in present:
        yield f"there is no column {main!r} ({allowed})"
    elif present[main] not in types:
        yield f"column {main!r} is {present[main]}, not {allowed}"
    for name, kind in present.items():
        # Columns beside a text are dropped, whatever they hold.
        if not family.is_flat and name != main and kind in _REFUSED_TYPES:
            yield f"column {name!r} has the unsupported type {kind}"
        if name.lower() in (family.answer_column, "status"):
            yield f"column {name!r} has a reserved name"
