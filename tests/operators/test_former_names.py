"""The former names of parameters, which are accepted with a warning, and parameters that are missing."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any

import pytest
from airflow.exceptions import AirflowProviderDeprecationWarning
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import (
    BuildGeminiRequestsOperator,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
    SubmitTextEmbeddingBatchOperator,
)
from airflow_gemini_batch.testing.dag_runs import run_dag
from tests.support.requests_data import request, upload

BUILD = {"model": "gemini-3.8-flash", "source": "bq://my-shop.books.rows", "key": "id", "prompt": "{id}"}
SUBMIT = {"model": "gemini-3.8-flash"}
EMBED = {"model": "gemini-embedding-001"}
LAND = {"manifest": {}, "key": "id", "target": "bq://my-shop.books.answers"}
FILE = "gs://books/in.jsonl"

FORMER_NAMES = [
    (BuildGeminiRequestsOperator, BUILD, "destination", "requests", "gs://books/requests"),
    (BuildGeminiRequestsOperator, BUILD, "skip_done", "target", "bq://my-shop.books.answers"),
    (SubmitGeminiBatchOperator, SUBMIT, "source", "requests", FILE),
    (SubmitTextEmbeddingBatchOperator, EMBED, "source", "requests", [FILE]),
    (LandGeminiResultsOperator, LAND, "sources", "requests", [FILE]),
]
each_former_name = pytest.mark.parametrize(
    ("kind", "needed", "former", "name", "value"),
    FORMER_NAMES,
    ids=[f"{kind.__name__}.{former}" for kind, _, former, *_ in FORMER_NAMES],
)


@each_former_name
def test_former_name_is_accepted_with_a_warning_about_the_dag_file(kind, needed, former, name, value):
    words = f"{former}= is now called {name}=. Rename it"
    with pytest.warns(AirflowProviderDeprecationWarning, match=words) as warned:
        task = kind(task_id="task", **needed, **{former: value})
    assert getattr(task, name) == value
    assert [warning.filename for warning in warned if words in str(warning.message)] == [__file__]


@each_former_name
def test_both_names_at_once_are_refused(kind, needed, former, name, value):
    with pytest.raises(TypeError, match=f"{former}= is the former name of {name}="):
        kind(task_id="task", **needed, **{former: value, name: value})


@each_former_name
def test_present_name_does_not_warn(kind, needed, former, name, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error", AirflowProviderDeprecationWarning)
        kind(task_id="task", **needed, **{name: value})


@pytest.mark.parametrize("kind", [SubmitGeminiBatchOperator, SubmitTextEmbeddingBatchOperator])
def test_submit_without_requests_is_refused_when_the_dag_is_read(kind):
    with pytest.raises(TypeError, match=r"describe: requests= is missing\. Give .* \.partial"):
        kind(task_id="describe", model="gemini-3.8-flash")


@pytest.mark.parametrize("way", ["expand", "expand_kwargs"])
@pytest.mark.parametrize("name", ["requests", "source"])
@pytest.mark.filterwarnings(
    "ignore:source= is now called:airflow.exceptions.AirflowProviderDeprecationWarning"
)
def test_mapped_submit_takes_both_names(gemini_batch_stack: Any, bucket: str, way: str, name: str) -> None:
    files = [upload(gemini_batch_stack, bucket, f"{n}.jsonl", [request(str(n))]) for n in range(2)]
    with DAG("former_names", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        partial = SubmitGeminiBatchOperator.partial(
            task_id="describe", model="gemini-3.8-flash", poll_interval=0.05
        )
        if way == "expand":
            partial.expand(**{name: files})
        else:
            partial.expand_kwargs([{name: file} for file in files])
    run = run_dag(dag)
    assert run.states["describe"] == ["success", "success"]
    assert [result["rounds"][0]["source"] for result in run.results["describe"]] == [[file] for file in files]
