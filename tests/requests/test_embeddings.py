from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING, TEXT_EMBEDDING
from airflow_gemini_batch.outputs.matching import request_digest
from airflow_gemini_batch.requests.embeddings import (
    column_or_template,
    embedding_family,
    gemini_embedding_request,
    model_parameters_of,
    text_embedding_request,
)
from airflow_gemini_batch.requests.forms import row_faults
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.templates import BadRowError, RequestTemplate
from airflow_gemini_batch.requests.validation.embed_content import TASK_TYPES

NASTY = 'He said "hi" \\ it\'s {new} [[ title ]]\r\nline\ttab 😀 مرحبا 你好 \u2028'
PROMPT = PromptTemplate.parse("About [[ summary ]]")
TITLE = PromptTemplate.parse("[[ title ]]")
GEMINI = "gemini-embedding-001"


def filled(template: RequestTemplate, **row: Any) -> Any:
    """Return the request of a row."""
    return json.loads(template.fill(row))


@pytest.mark.parametrize(
    ("arguments", "row", "request_row"),
    [
        pytest.param({}, {"summary": NASTY}, {"content": f"About {NASTY}"}, id="text-alone"),
        pytest.param(
            {"task_type": "CLUSTERING"},
            {"summary": "x"},
            {"content": "About x", "task_type": "CLUSTERING"},
            id="task",
        ),
        pytest.param(
            {"task_type": "RETRIEVAL_DOCUMENT", "title": TITLE},
            {"summary": "x", "title": NASTY},
            {"content": "About x", "task_type": "RETRIEVAL_DOCUMENT", "title": NASTY},
            id="title",
        ),
        pytest.param(
            {"task_type": "RETRIEVAL_DOCUMENT", "title": TITLE},
            {"summary": "x", "title": None},
            {"content": "About x", "task_type": "RETRIEVAL_DOCUMENT", "title": ""},
            id="null-title",
        ),
    ],
)
def test_makes_text_embedding_requests(
    arguments: dict[str, Any], row: Mapping[str, Any], request_row: dict[str, Any]
) -> None:
    template = text_embedding_request(PROMPT, **arguments)

    assert filled(template, **row) == request_row
    assert row_faults(request_row, TEXT_EMBEDDING) == []
    in_table = {
        name: value if isinstance(value, str) else value.render_all([row])[0]
        for name, value in template.fields.items()
    }
    assert in_table == request_row


@pytest.mark.parametrize(
    ("arguments", "row", "config"),
    [
        pytest.param({}, {"summary": NASTY}, None, id="text-alone"),
        pytest.param(
            {"output_dimensionality": 768}, {"summary": "x"}, {"output_dimensionality": 768}, id="length"
        ),
        pytest.param(
            {"task_type": "RETRIEVAL_DOCUMENT", "title": TITLE, "output_dimensionality": 1},
            {"summary": "x", "title": NASTY},
            {"output_dimensionality": 1, "task_type": "RETRIEVAL_DOCUMENT", "title": NASTY},
            id="all",
        ),
        pytest.param(
            {"task_type": "RETRIEVAL_DOCUMENT", "title": TITLE},
            {"summary": "x"},
            {"task_type": "RETRIEVAL_DOCUMENT", "title": ""},
            id="null-title",
        ),
    ],
)
def test_makes_gemini_embedding_requests(
    arguments: dict[str, Any], row: Mapping[str, Any], config: dict[str, Any] | None
) -> None:
    template = gemini_embedding_request(PROMPT, model=GEMINI, **arguments)
    request = filled(template, **row)

    assert request.pop("content") == {"parts": [{"text": f"About {row['summary']}"}]}
    assert request == ({"embed_content_config": config} if config else {})
    assert row_faults({"request": filled(template, **row)}, GEMINI_EMBEDDING) == []


@pytest.mark.parametrize(
    "model", ["gemini-embedding-2", "publishers/google/models/gemini-embedding-2-preview"]
)
@pytest.mark.parametrize(
    ("title", "row", "text"),
    [
        pytest.param(None, {}, "title: none | text: About x", id="no-title"),
        pytest.param("[[ title ]]", {"title": NASTY}, f"title: {NASTY} | text: About x", id="title"),
        pytest.param("[[ title ]]", {}, "title: none | text: About x", id="null"),
        pytest.param("[[ title | Untitled ]]", {}, "title: Untitled | text: About x", id="own-default"),
        pytest.param(
            "[[ title ]], [[ year ]]", {"year": 1851}, "title: , 1851 | text: About x", id="two-columns"
        ),
    ],
)
def test_writes_the_title_into_the_text_for_models_that_ignore_the_field(
    model: str, title: str | None, row: dict[str, Any], text: str
) -> None:
    template = gemini_embedding_request(
        PROMPT,
        model=model,
        task_type="RETRIEVAL_DOCUMENT",
        title=PromptTemplate.parse(title) if title else None,
        output_dimensionality=64,
    )
    assert filled(template, summary="x", **row) == {
        "content": {"parts": [{"text": text}]},
        "embed_content_config": {"output_dimensionality": 64},
    }


def test_writes_the_settings_beside_the_content_where_they_are_to_be_flat() -> None:
    settings = {"output_dimensionality": 64, "task_type": "RETRIEVAL_DOCUMENT"}
    content = {"content": {"parts": [{"text": "About x"}]}}

    def request(request_format: str | None) -> Any:
        template = gemini_embedding_request(
            PROMPT, model=GEMINI, title=TITLE, **settings, request_format=request_format
        )
        return filled(template, summary="x", title="T")

    assert request("flat") == {**content, **settings, "title": "T"}
    nested = {**content, "embed_content_config": {**settings, "title": "T"}}
    assert [request(one) for one in (None, "nested", "gemini_embedding")] == [nested] * 3
    for form in ("flat", "nested"):
        assert row_faults({"request": request(form)}, GEMINI_EMBEDDING) == []
    assert request_digest(request("flat")) == request_digest(nested)


def test_leaves_a_text_without_a_task_as_it_is() -> None:
    template = gemini_embedding_request(PROMPT, model="gemini-embedding-2")
    assert filled(template, summary="x") == {"content": {"parts": [{"text": "About x"}]}}


def test_refuses_a_task_type_that_the_model_ignores() -> None:
    with pytest.raises(ValueError, match=r"gemini-embedding-2 ignores task_type.*'task: search result"):
        gemini_embedding_request(PROMPT, model="gemini-embedding-2", task_type="RETRIEVAL_QUERY")


@pytest.mark.parametrize(
    ("model", "said", "family"),
    [
        ("text-embedding-005", None, "text_embedding"),
        ("publishers/google/models/gemini-embedding-001", None, "gemini_embedding"),
        ("gemini-embedding-001", "gemini_embedding", "gemini_embedding"),
        ("next-embedding-1", "text_embedding", "text_embedding"),
        ("next-embedding-1", "flat", "gemini_embedding"),
        ("gemini-embedding-2", "nested", "gemini_embedding"),
        ("projects/p/locations/l/models/123", "text_embedding", "text_embedding"),
    ],
)
def test_model_or_user_tells_the_family(model: str, said: str | None, family: str) -> None:
    assert str(embedding_family(model, said)) == family


@pytest.mark.parametrize(
    ("model", "said", "message"),
    [
        ("gemini-2.5-flash", None, "gemini-2.5-flash generates text: use the operators for Gemini"),
        ("next-embedding-1", None, "request_format='text_embedding' or request_format='gemini_embedding'"),
        (
            "next-embedding-1",
            "generate_content",
            "request_format is 'generate_content': give request_format=",
        ),
        (
            "text-embedding-005",
            "gemini_embedding",
            "but text-embedding-005 reads text_embedding: leave it out",
        ),
    ],
)
def test_refuses_models_whose_format_is_not_told(model: str, said: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        embedding_family(model, said)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("summary", "x"),
        (" the summary ", "y"),
        ("[[ summary ]]!", "x!"),
        ("[[ absent | none ]] of [[ summary ]]", "none of x"),
    ],
)
def test_text_is_a_column_or_a_template(text: str, rendered: str) -> None:
    row = {"summary": "x", "the summary": "y"}
    assert column_or_template(text, "text").render_all([row]) == [rendered]


@pytest.mark.parametrize("text", ["", " ", None, ["summary"]])
def test_text_has_to_be_given(text: Any) -> None:
    with pytest.raises(ValueError, match=r"title is .*: give a column, or a template"):
        column_or_template(text, "title")


def test_fields_are_the_request_in_pieces() -> None:
    template = gemini_embedding_request(PROMPT, model=GEMINI, task_type="CLUSTERING", output_dimensionality=8)
    assert template.fields == {
        "content": {"parts": [{"text": PROMPT}]},
        "embed_content_config": {"output_dimensionality": 8, "task_type": "CLUSTERING"},
    }
    assert len(template.parts) == 3


@pytest.mark.parametrize("make", ["text", "gemini"])
def test_refuses_tasks_that_do_not_exist_and_titles_of_other_tasks(make: str) -> None:
    def request(**arguments: Any) -> RequestTemplate:
        if make == "text":
            return text_embedding_request(PROMPT, **arguments)
        return gemini_embedding_request(PROMPT, model=GEMINI, **arguments)

    with pytest.raises(ValueError, match=f"'SEARCH': use one of {', '.join(TASK_TYPES)}"):
        request(task_type="SEARCH")
    for task_type in (None, "CLUSTERING"):
        with pytest.raises(
            ValueError, match=f"task_type='RETRIEVAL_DOCUMENT' only, and task_type is {task_type!r}"
        ):
            request(task_type=task_type, title=TITLE)


@pytest.mark.parametrize(
    "template",
    [
        text_embedding_request(PromptTemplate.parse("[[ summary ]]")),
        gemini_embedding_request(PromptTemplate.parse("[[ summary ]]"), model=GEMINI),
        gemini_embedding_request(
            PromptTemplate.parse("[[ summary ]]"),
            model="gemini-embedding-2",
            task_type="RETRIEVAL_DOCUMENT",
            title=PromptTemplate.parse("Book"),
        ),
    ],
    ids=["text", "gemini", "title-in-text"],
)
def test_refuses_rows_without_text(template: RequestTemplate) -> None:
    with pytest.raises(BadRowError, match="the prompt is empty"):
        template.fill({"summary": " \n"})


def test_tells_the_length_of_vectors_where_the_family_wants_it() -> None:
    assert model_parameters_of(TEXT_EMBEDDING, 256) == {"outputDimensionality": "256"}
    assert model_parameters_of(TEXT_EMBEDDING) == {}
    assert model_parameters_of(GEMINI_EMBEDDING, 256) == {}


@pytest.mark.parametrize("dimensions", [0, -1, 3073, 2.5, True, "768"])
def test_refuses_lengths_that_vectors_cannot_have(dimensions: Any) -> None:
    with pytest.raises(ValueError, match="give a whole number from 1 to 3072"):
        gemini_embedding_request(PROMPT, model=GEMINI, output_dimensionality=dimensions)
    with pytest.raises(ValueError, match="give a whole number from 1 to 768"):
        model_parameters_of(TEXT_EMBEDDING, dimensions)
