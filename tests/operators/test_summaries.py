"""The block at the end of each task's log, in tables and in files, and what others may read of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import (
    BuildGeminiRequestsOperator,
    LandGeminiResultsOperator,
    PreflightGeminiBatchOperator,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.exceptions import JobFailedError, JobServiceError
from airflow_gemini_batch.hooks.errors import fail_without_retry
from airflow_gemini_batch.operators.base import GeminiBatchOperator
from tests.operators.steps import BOOKS, MODEL, PROMPT, book
from tests.support.tables import fill, make_dataset
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat

SECRET = "Title 3 of patient-4711"


@pytest.fixture
def logged(mocker):
    """What the operators of a test have logged at the level info, message by message."""
    log = mocker.patch.object(GeminiBatchOperator, "log", mocker.Mock())
    return lambda: [call.args[0] % call.args[1:] for call in log.info.call_args_list]


@pytest.fixture(params=["tables", "files"])
def pipeline(request, gemini_batch_stack, bucket):
    """The arguments of all steps of a pipeline with four rows."""
    rows = [book(number) for number in range(3)] + [book(3, title=SECRET)]
    shared = {"key": "isbn", "model": MODEL, "prompt": PROMPT}
    if request.param == "tables":
        dataset = make_dataset(gemini_batch_stack)
        source = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
        return {**shared, "source": source, "target": f"{dataset}.described"}
    target = f"gs://{bucket}/described.parquet"
    return {**shared, "source": rows, "target": target, "requests": f"gs://{bucket}/requests"}


def test_each_step_ends_with_one_block(gemini_batch_stack, pipeline, logged):
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)  # one row at the least
    tis = {name: TaskInstance(task_id=name) for name in ("preflight", "build", "submit", "land")}
    run_task(PreflightGeminiBatchOperator(task_id="preflight", **pipeline), tis["preflight"])
    (requests,) = run_task(BuildGeminiRequestsOperator(task_id="build", **pipeline), tis["build"])
    options: dict[str, Any] = {"poll_interval": 0.05, "max_row_retries": 0, "max_failed_fraction": 1.0}
    submit = SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=requests, **options)
    manifest = run_task(submit, tis["submit"])
    land = LandGeminiResultsOperator(
        task_id="land", manifest=manifest, key="isbn", target=pipeline["target"], max_failed_fraction=0.25
    )
    report = run_task(land, tis["land"])

    blocks = [message for message in logged() if re.search(r"^Next  ", message, re.MULTILINE)]
    assert [block.partition("\n")[0] for block in blocks] == [
        "Preflight passed: source, requests and target are ready.",
        "4 of 4 rows become requests, for 1 job.",
        "3 of 4 rows answered.",
        "3 rows landed, 1 failed.",
    ]
    preflight, build, submitted, landed = blocks
    assert f"Target      {pipeline['target']}\n" in preflight
    assert f"Requests    {requests}\n" in build
    assert re.search(r"^Prompt +Describe Title \d", build, re.MULTILINE)
    assert re.search(
        r"^Tokens +[\d,]+ prompt, .*\nCost +\$.*\nJob +SUCCEEDED, 3 ok, 1 missing; queued \d+ s, ran",
        submitted,
        re.MULTILINE,
    )
    assert f"Answers     {manifest['outputs'][0]}\n" in submitted
    assert re.search(
        r"^Failed +1 missing: the output has no row for the request \(key 978-\d\)$", landed, re.MULTILINE
    )
    assert f"Failures    {report['failed_target']}\n" in landed
    assert "again about 1 that failed temporarily" in flat(landed)

    for ti, block in zip(tis.values(), blocks, strict=True):
        # The database keeps it, and notifications may hold it.
        shown = ti.xcoms["summary"]
        assert block.startswith(shown.partition("\n")[0])
        assert "Describe" not in shown
        assert "978-" not in shown
    links = {name for name in tis["land"].xcoms if name.endswith("_url")}
    in_tables = pipeline["target"].startswith("bq://")
    assert links == ({"gemini_batch_target_url", "gemini_batch_failed_rows_url"} if in_tables else set())


def test_failure_is_the_block_with_what_to_do(gemini_batch_stack, pipeline, logged):
    gemini_batch_stack.vertex.faults.plan("fail")
    (requests,) = run_task(BuildGeminiRequestsOperator(task_id="build", **pipeline))
    ti = TaskInstance()
    with pytest.raises(JobFailedError) as failed:
        run_task(
            SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=requests, poll_interval=0.05),
            ti,
        )
    labels = [line[:12].strip() for line in str(failed.value).splitlines()]
    assert [label for label in labels if label] == [
        "The batch jo",
        "Error",
        "Rows",
        "Failed",
        "Job",
        "Requests",
        "Next",
    ]
    assert ti.xcoms["summary"].partition("\n")[0] == "The batch job failed."


def test_summary_of_a_landing_that_fails_holds_nothing_of_a_row(gemini_batch_stack, pipeline):
    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)
    (requests,) = run_task(BuildGeminiRequestsOperator(task_id="build", **pipeline))
    options: dict[str, Any] = {"poll_interval": 0.05, "max_row_retries": 0, "max_failed_fraction": 1.0}
    manifest = run_task(
        SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=requests, **options)
    )
    land = LandGeminiResultsOperator(
        task_id="land", manifest=manifest, key="isbn", target=pipeline["target"], max_failed_fraction=0.1
    )
    ti = TaskInstance()
    with pytest.raises(AirflowFailException) as failed:
        run_task(land, ti)
    assert "978-" in str(failed.value)
    stored = ti.xcoms["summary"]
    assert stored.startswith("1 of 4 rows have no usable answer (25.00%; max_failed_fraction allows 10.00%).")
    assert "978-" not in stored


def test_summary_that_cannot_be_stored_hides_no_error(gemini_batch_stack, pipeline, mocker):
    gemini_batch_stack.vertex.faults.plan("fail")
    (requests,) = run_task(BuildGeminiRequestsOperator(task_id="build", **pipeline))
    mocker.patch.object(TaskInstance, "xcom_push", side_effect=ConnectionError("no API"))
    mocker.patch("airflow_gemini_batch.operators.submit.persist_link")
    with pytest.raises(JobFailedError):
        run_task(
            SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=requests, poll_interval=0.05)
        )


def test_failed_rows_that_cannot_be_read_fail_nothing(gemini_batch_stack, pipeline, mocker, logged):
    from google.api_core.exceptions import Forbidden

    gemini_batch_stack.vertex.faults.plan("missing_rows", share=0.0)
    (requests,) = run_task(BuildGeminiRequestsOperator(task_id="build", **pipeline))
    options: dict[str, Any] = {"poll_interval": 0.05, "max_row_retries": 0, "max_failed_fraction": 1.0}
    manifest = run_task(
        SubmitGeminiBatchOperator(task_id="submit", model=MODEL, requests=requests, **options)
    )
    mocker.patch("airflow_gemini_batch.landing.failed_rows.failed_rows", side_effect=Forbidden("no"))
    land = LandGeminiResultsOperator(
        task_id="land", manifest=manifest, key="isbn", target=pipeline["target"], max_failed_fraction=1.0
    )
    assert run_task(land)["failed"] == 1
    assert "Failed      missing: the output has no row for the request" in logged()[-1]


@pytest.mark.parametrize("retryable", [True, False])
def test_error_is_shown_once_with_one_stack(retryable: bool) -> None:
    try:
        with fail_without_retry():
            try:
                raise OSError("connection reset")
            except OSError as cause:
                raise JobServiceError(f"no answer ({cause})", code=503 if retryable else 400) from cause
    except (JobServiceError, AirflowFailException) as error:
        shown = error
    assert isinstance(shown, JobServiceError) is retryable
    assert str(shown) == "no answer (connection reset)"
    assert shown.__cause__ is None
    assert shown.__suppress_context__
    assert isinstance(shown.__context__, OSError if retryable else JobServiceError)


@pytest.mark.parametrize("operator", [BuildGeminiRequestsOperator, PreflightGeminiBatchOperator])
def test_column_in_airflow_s_braces_is_refused_with_a_hint(operator: Any) -> None:
    settings = {
        "task_id": "build",
        "source": [book(1)],
        "key": "isbn",
        "model": MODEL,
        "target": "gs://b/t.jsonl",
    }
    from airflow.providers.common.compat.sdk import DAG

    with DAG("hints", schedule=None):
        task = operator(prompt="Describe {{ title }}.", **settings)
    with pytest.raises(AirflowFailException, match=r"'title' is undefined.*\[\[ title \]\]"):
        task.render_template_fields({})
