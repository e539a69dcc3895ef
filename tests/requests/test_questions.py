"""What all rows of a build are asked, apart from their values."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.questions import Question, text_of
from tests.requests.plans import gemini_embedding_plan, plan, text_embedding_plan

ROW = {"isbn": "1", "title": 'An "odd" title\u2028', "cover": "gs://shop/1.png", "year": 1999}
BASE = plan("Describe [[ title | nothing ]].", request={"generation_config": {"temperature": 0.2}})
PLANS = {
    "prompt": BASE,
    "odd text": plan(
        '\\[[ "quoted" ]] [[ title | it\'s | odd ]] \n', request={"system_instruction": "Be kind."}
    ),
    "media": plan("[[ title ]]", request={"media": {"cover": None}, "media_prefixes": "gs://shop/"}),
    "schema": plan(request={"response_schema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}),
    "embedding": text_embedding_plan(title="[[ year ]]", task_type="RETRIEVAL_DOCUMENT"),
    "gemini embedding": gemini_embedding_plan(output_dimensionality=768),
}


@pytest.mark.parametrize("name", PLANS)
def test_question_that_was_stored_gives_the_same_requests(name) -> None:
    question = PLANS[name].question
    again = Question.from_json(json.loads(json.dumps(question.to_json())))
    assert again.id == question.id
    assert again.template.fill(ROW) == question.template.fill(ROW)
    assert fingerprint_of(again.model, again.template.fill(ROW)) == fingerprint_of(
        PLANS[name].model_key, PLANS[name].template.fill(ROW)
    )
    assert again.pieces == question.pieces


def asks(
    prompt: str = "Describe [[ title | nothing ]].", model: str = BASE.model, **request: object
) -> Question:
    return plan(prompt, model=model, request={"generation_config": {"temperature": 0.2}, **request}).question


@pytest.mark.parametrize(
    ("question", "changes"),
    [
        pytest.param(asks(), [], id="nothing"),
        pytest.param(asks(model="gemini-2.5-flash"), [], id="the model's plain name"),
        pytest.param(asks("Praise [[ title | nothing ]]."), ["prompt"], id="prompt"),
        pytest.param(asks("Describe [[ title ]]."), ["prompt"], id="text for NULL"),
        pytest.param(asks(model="gemini-3.8-flash"), ["model"], id="model"),
        pytest.param(asks(generation_config={"temperature": 0.3}), ["generation config"], id="config"),
        pytest.param(asks(generation_config=None), ["generation config"], id="no config"),
        pytest.param(asks(system_instruction="Be kind."), ["system instruction"], id="instruction"),
        pytest.param(asks(tools=[{"googleSearch": {}}]), ["tools"], id="tools"),
        pytest.param(asks(media={"cover": None}), ["prompt"], id="media"),
        pytest.param(
            asks(safety_settings=[{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]),
            ["safety settings"], id="safety",
        ),
        pytest.param(
            asks(response_schema={"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}),
            ["response schema"], id="schema",
        ),
        pytest.param(asks("Praise.", "gemini-3.8-flash"), ["model", "prompt"], id="both"),
    ],
)  # fmt: skip
def test_what_has_changed_is_named(question, changes) -> None:
    assert question.changes_from(BASE.question) == changes
    assert BASE.question.changes_from(question) == changes
    assert (question.id == BASE.question.id) == (not changes)


def test_what_addresses_begin_with_is_no_other_question() -> None:
    media = plan("[[ title ]]", request={"media": {"cover": None}})
    assert PLANS["media"].question.id == media.question.id


def test_parameters_of_the_job_are_part_of_the_model() -> None:
    short = replace(PLANS["embedding"], model_parameters={"outputDimensionality": "256"})
    assert short.question.changes_from(PLANS["embedding"].question) == ["model"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"model": "m"},
        {"model": "m", "parts": [{}], "prompt": []},
        {"model": "m", "parts": 7, "prompt": []},
    ],
)
def test_other_content_is_refused(content) -> None:
    with pytest.raises(ValueError, match="expected a question"):
        Question.from_json(content)


@pytest.mark.parametrize("text", ["a [[ b ]] c", "\\[[ b ]] [[ c | d e ]]", "[[ a ]][[ b ]]", "plain"])
def test_text_of_a_template_is_read_as_the_same_template(text) -> None:
    template = PromptTemplate.parse(text)
    assert PromptTemplate.parse(text_of(template)) == template
