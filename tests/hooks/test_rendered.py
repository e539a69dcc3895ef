from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

import airflow_gemini_batch
from airflow_gemini_batch.decorators.gemini_batch import GeminiBatchDecoratedOperator
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.hooks.mixin import HookedTask
from airflow_gemini_batch.hooks.rendered import (
    DICTS,
    LABELS,
    TEXT_LISTS,
    TEXTS,
    take_rendered,
    unplaced_fields,
)

TASKS = [
    found
    for name in airflow_gemini_batch.__all__
    if isinstance(found := getattr(airflow_gemini_batch, name), type) and issubclass(found, HookedTask)
]


def _taken(name: str, value: Any) -> Any:
    task = SimpleNamespace(template_fields=[name], **{name: value})
    take_rendered(task)
    return getattr(task, name)


@pytest.mark.parametrize("task", [*TASKS, GeminiBatchDecoratedOperator])
def test_each_template_field_has_its_place(task: Any) -> None:
    assert unplaced_fields(task.template_fields) - {"op_args", "op_kwargs", "templates_dict"} == set()


def test_there_are_tasks() -> None:
    assert len(TASKS) > 9


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (None, None),
        (2026, "2026"),
        (0, "0"),
        (7.5, "7.5"),
        (True, "True"),
        (date(2026, 11, 26), "2026-11-26"),
        (Path("/a"), Path("/a")),
    ],
)
def test_text_that_became_a_number_is_a_text_again(value: Any, text: Any) -> None:
    for name in TEXTS | TEXT_LISTS:
        assert _taken(name, value) == text, name
        assert type(_taken(name, value)) is type(text), name


@pytest.mark.parametrize(
    ("value", "kind"), [(["a"], "a list"), ({"a": 1}, "a dict"), (("a", "b"), "a tuple"), ({"a"}, "a set")]
)
def test_text_that_became_something_else_is_named(value: Any, kind: str) -> None:
    for name in TEXTS:
        with pytest.raises(InvalidRequestError) as refused:
            _taken(name, value)
        assert str(refused.value) == (
            f"{name}: expected a text, got {kind}, {value!r}. With render_template_as_native_obj=True on the DAG, "
            "Airflow makes such a value of a text that looks like one: leave that out, or begin the text with a word"
        )


@pytest.mark.parametrize("name", sorted(TEXT_LISTS))
def test_several_texts_stay_several(name: str) -> None:
    assert _taken(name, ["a", 7]) == ["a", "7"]
    listed = ["a", "b"]
    assert _taken(name, listed) is listed
    with pytest.raises(InvalidRequestError, match="expected a text, or several, got a dict"):
        _taken(name, {"a": 1})


@pytest.mark.parametrize("name", sorted(DICTS | LABELS))
@pytest.mark.parametrize("value", [7, ["a"], "{'a': 1}", True])
def test_dict_that_is_none_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name}: expected a dict, got "):
        _taken(name, value)


def test_dict_of_a_template_that_gave_nothing_is_none() -> None:
    assert _taken("labels", "") is None


CONTEXT = {"params": {"year": 2026, "team": 7, "words": "['a', 'b']", "config": {"maxOutputTokens": 64}}}


def _rendered(task_class: Any, **fields: Any) -> Any:
    """Return a task whose fields Airflow has rendered to native objects."""
    with DAG("native", start_date=datetime(2026, 1, 1), schedule=None, render_template_as_native_obj=True):
        task = task_class(task_id="a", **fields)
    task.render_template_fields(CONTEXT)
    return task


def test_what_airflow_renders_is_taken() -> None:
    submit = _rendered(
        airflow_gemini_batch.SubmitGeminiBatchOperator,
        model="gemini-3.8-flash",
        requests="['gs://b/1.jsonl', 'gs://b/2.jsonl']",
        display_name="{{ params.year }}",
        labels={"team": "{{ params.team }}"},
    )
    assert (submit.display_name, submit.labels) == (2026, {"team": 7})
    with submit.running():
        assert (submit.display_name, submit.labels) == ("2026", {"team": "7"})
        assert submit.requests == ["gs://b/1.jsonl", "gs://b/2.jsonl"]
    sensor = _rendered(
        airflow_gemini_batch.GeminiBatchJobSensor,
        external_dag_id="nightly",
        external_run_id="{{ params.year }}",
        external_task_id="2",
    )
    with sensor.running():
        assert (sensor.external_run_id, sensor.external_task_id) == ("2026", "2")
    build = _rendered(
        airflow_gemini_batch.BuildGeminiRequestsOperator,
        source="SELECT 1",
        key="isbn",
        model="gemini-3.8-flash",
        prompt="7",
        system_instruction="{{ params.year }}",
        generation_config="{{ params.config }}",
        tools="[{'googleSearch': {}}]",
    )
    with build.running():
        assert build._template().example() == {
            "contents": [{"role": "user", "parts": [{"text": "text"}]}],
            "systemInstruction": {"parts": [{"text": "2026"}]},
            "generationConfig": {"maxOutputTokens": 64},
            "tools": [{"googleSearch": {}}],
        }


def test_prompt_that_became_a_list_fails_without_a_retry() -> None:
    build = _rendered(
        airflow_gemini_batch.BuildGeminiRequestsOperator,
        source="SELECT 1",
        key="isbn",
        model="gemini-3.8-flash",
        prompt="{{ params.words }}",
    )
    with pytest.raises(AirflowFailException) as failed, build.running():
        pass
    assert "prompt: expected a text, got a list, ['a', 'b']. With render" in str(failed.value)


NOW = datetime(2026, 11, 26)
ROW = [{"isbn": 7}]


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("source", 2026, "2026"),
        ("source", ROW, ROW),
        ("source", [7], [7]),
        ("media", 7, "7"),
        ("media", {"cover": None}, {"cover": None}),
        ("external_logical_date", NOW, NOW),
        ("external_logical_date", 20261126, "20261126"),
        ("external_logical_date", date(2026, 11, 26), "2026-11-26"),
        ("manifest", {"version": 1}, {"version": 1}),
    ],
)
def test_other_fields_take_what_can_be_meant(name: str, value: Any, taken: Any) -> None:
    assert _taken(name, value) == taken


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("source", {"a": 1}, "source: expected rows, a text, or several, got a dict"),
        ("manifest", 7, "manifest: expected the result of a task, got int, 7"),
        ("external_logical_date", [1], "external_logical_date: expected a text, got a list"),
    ],
)
def test_other_fields_name_what_cannot_be_meant(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        _taken(name, value)


def test_labels_are_texts() -> None:
    given = {"team": 7, "cost": 1.0, "live": True, 2026: "x"}
    assert _taken("labels", given) == {"team": "7", "cost": "1.0", "live": "true", "2026": "x"}
    parameters = {"outputDimensionality": 7}
    assert _taken("model_parameters", parameters) is parameters
