from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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


@pytest.mark.parametrize("name", sorted(TEXTS | TEXT_LISTS))
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
def test_text_that_became_a_number_is_a_text_again(name: str, value: Any, text: Any) -> None:
    assert _taken(name, value) == text
    assert type(_taken(name, value)) is type(text)


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize(
    ("value", "kind"), [(["a"], "a list"), ({"a": 1}, "a dict"), (("a", "b"), "a tuple"), ({"a"}, "a set")]
)
def test_text_that_became_something_else_is_named(name: str, value: Any, kind: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        _taken(name, value)
    assert str(refused.value) == (
        f"{name}: expected a text, got {kind}, {value!r}. With render_template_as_native_obj=True on the DAG, Airflow "
        "makes such a value of a text that looks like one: leave that out, or begin the text with a word"
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


def test_labels_are_texts() -> None:
    given = {"team": 7, "cost": 1.0, "live": True, 2026: "x"}
    assert _taken("labels", given) == {"team": "7", "cost": "1.0", "live": "true", "2026": "x"}
    parameters = {"outputDimensionality": 7}
    assert _taken("model_parameters", parameters) is parameters
