"""Settings that are not template fields are refused where Airflow reads the DAG file: before a task, before money."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import (
    BuildGeminiRequestsOperator,
    GeminiBatchOutputTableSensor,
    GeminiEnrichmentTaskGroup,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
    TextEmbeddingTaskGroup,
)
from airflow_gemini_batch.decorators.gemini_batch import GeminiBatchDecoratedOperator
from airflow_gemini_batch.exceptions import InvalidRequestError

PLACES = {"source": "bq://my-shop.books.books", "key": "id", "target": "bq://my-shop.books.described"}
GENERATES = {"model": "gemini-3.8-flash", "prompt": "[[ title ]]"}
MAKE: dict[str, Any] = {
    "group": lambda **given: GeminiEnrichmentTaskGroup(group_id="g", **PLACES, **GENERATES, **given),
    "embedding group": lambda **given: TextEmbeddingTaskGroup(
        group_id="g", **PLACES, model="text-embedding-005", text="title", **given
    ),
    "build": lambda **given: BuildGeminiRequestsOperator(task_id="t", **PLACES, **GENERATES, **given),
    "submit": lambda **given: SubmitGeminiBatchOperator(
        task_id="t", model="gemini-3.8-flash", requests="gs://shop/a.jsonl", **given
    ),
    "decorator": lambda **given: GeminiBatchDecoratedOperator(
        task_id="t",
        python_callable=list,
        op_args=[],
        op_kwargs={},
        model="gemini-3.8-flash",
        requests="gs://shop/requests",
        **given,
    ),
    "land": lambda **given: LandGeminiResultsOperator(
        task_id="t", key="id", target=PLACES["target"], manifest={}, **given
    ),
    "sensor": lambda **given: GeminiBatchOutputTableSensor(
        task_id="t", table=PLACES["target"], expected_rows=1, **given
    ),
}

FRACTION = [("max_failed_fraction", value, "from 0 to 1") for value in (5, -0.1, "5%", True, None)]
RETRIES = [("max_row_retries", value, "0 or more") for value in (-1, 1.5, "1", None, True)]
WAITS = [
    (name, value, "a number of seconds above 0")
    for name in ("poll_interval", "queue_timeout", "run_timeout")
    for value in (0, -1, "60", timedelta(hours=1), True)
]
SUBMIT = [
    *WAITS,
    ("on_timeout", "stop", "'cancel' or 'leave'"),
    ("cancel_on_kill", "no", "True or False"),
    ("deferrable", "False", "True or False"),
    ("preflight", 0, "True or False"),
]
BUILD = [
    ("incremental", "no", "True or False"),
    ("on_bad_rows", "skip", "'fail' or 'drop'"),
    ("shard_rows", 0, "1 or more"),
    ("shard_rows", "40", "1 or more"),
]
SCHEMA = [
    ("response_schema", {"tags": set}, "say what it holds"),
    ("response_schema", {"a b": str}, "'a b' can't be a column"),
    ("response_schema", "text", "response_schema"),
    ("response_schema", {"a": object()}, "response_schema"),
]
LAND = [("bookkeeping", 1, "True or False"), *FRACTION]

CASES = [
    *((kind, case) for kind in ("submit", "decorator") for case in (*SUBMIT, *FRACTION, *RETRIES)),
    *(("build", case) for case in (*BUILD, ("on_empty", "fail", "'skip' or 'succeed'"), *SCHEMA)),
    *(("land", case) for case in (*LAND, *SCHEMA)),
    *(("sensor", case) for case in FRACTION),
    *((kind, case) for kind in ("group", "embedding group") for case in (*BUILD, *LAND, *RETRIES)),
    *(("group", case) for case in SCHEMA),
    *(("group", ("submit_options", {name: value}, says)) for name, value, says in SUBMIT),
]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_setting_that_makes_no_sense_is_refused_where_the_file_is_read(kind, case):
    name, value, says = case
    named = next(iter(value)) if name == "submit_options" else name
    with DAG("d", start_date=datetime(2026, 1, 1), schedule=None), pytest.raises(InvalidRequestError) as told:
        MAKE[kind](**{name: value})
    assert named in str(told.value)
    assert says.lower() in str(told.value).lower()


@pytest.mark.parametrize("kind", MAKE)
def test_settings_as_they_are_meant_are_taken(kind):
    with DAG("d", start_date=datetime(2026, 1, 1), schedule=None):
        MAKE[kind]()
