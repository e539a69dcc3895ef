"""The preflight task: all faults in one error, and retries only where they help."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.operators.preflight import PreflightGeminiBatchOperator
from tests.support.tables import fill, make_dataset
from tests.support.tasks import run_task

BOOKS = {"isbn": "STRING", "title": "STRING"}


def preflight(**arguments: Any) -> PreflightGeminiBatchOperator:
    defaults = {"key": "isbn", "prompt": "Describe [[ title ]].", "model": "gemini-3.8-flash"}
    return PreflightGeminiBatchOperator(task_id="preflight", **{**defaults, **arguments})


@pytest.fixture
def dataset(gemini_batch_stack) -> str:
    return make_dataset(gemini_batch_stack)


def test_sound_pipeline_passes_with_its_warnings(gemini_batch_stack, dataset):
    rows = [{"isbn": "1", "title": "Emma"}, {"isbn": "2", "title": ""}]
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
    task = preflight(
        source=books, prompt="[[ title ]]", target=f"{dataset}.landed", response_schema={"summary": str}
    )
    (warning,) = run_task(task)["warnings"]
    assert "the prompt is empty" in warning


def test_all_faults_are_one_error_without_retries(gemini_batch_stack, dataset):
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [{"isbn": "1", "title": "Emma"}])
    landed = fill(gemini_batch_stack, f"{dataset}.landed", {"isbn": "STRING", "summary": "INT64"})
    task = preflight(
        source=books,
        prompt="Describe [[ author ]].",
        target=landed,
        failed_target="gs://no-such-bucket/failed.jsonl",
        requests=make_dataset(gemini_batch_stack, location="europe-west4"),
        generation_config={"temperature": "warm"},
        response_schema={"summary": str},
    )
    with pytest.raises(AirflowFailException) as raised:
        run_task(task)
    for fault in (
        "the preflight found 6 errors, nothing was submitted",
        "temperature",
        "names the column 'author'",
        "it is in europe-west4",
        "has no column 'batch_fingerprint'",
        "the column 'summary' is INT64 there",
        "failed_target gs://no-such-bucket/failed.jsonl: the bucket does not exist",
    ):
        assert fault in str(raised.value)


@pytest.mark.parametrize("field", ["isbn", "ISBN", "batch_model"])
def test_field_that_could_not_land_is_told_before_anything_is_paid(gemini_batch_stack, dataset, field):
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [{"isbn": "1", "title": "Emma"}])
    task = preflight(source=books, target=f"{dataset}.landed", response_schema={field: str})
    with pytest.raises(AirflowFailException, match="the target would have two columns"):
        run_task(task)


def test_missing_source_alone_keeps_the_retries(dataset):
    task = preflight(source=f"{dataset}.books", target=f"{dataset}.landed")
    with pytest.raises(SourceNotReadyError, match="there is no such table"):
        run_task(task)


def test_missing_source_with_a_fault_for_good_does_not(dataset):
    task = preflight(source=f"{dataset}.books", target="gs://no-such-bucket/landed.parquet")
    with pytest.raises(AirflowFailException, match="there is no such table"):
        run_task(task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"key": ()}, "key: expected a column name, or several"),
        ({"source": "books.docx"}, "the kind of file is not known"),
    ],
)
def test_arguments_that_make_no_plan_are_told(dataset, arguments, message):
    task = preflight(**{"source": f"{dataset}.books", "target": f"{dataset}.landed", **arguments})
    with pytest.raises(AirflowFailException, match=message):
        run_task(task)


def test_targets_are_rendered():
    assert {"target", "failed_target", "prompt", "source"} <= set(
        PreflightGeminiBatchOperator.template_fields
    )
