from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.jobs.readiness import (
    ReadinessState,
    job_readiness,
    never,
    not_yet,
    ready,
    rows_readiness,
)
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState
from airflow_gemini_batch.vertex.resource import VertexJobName

NAME = VertexJobName("my-shop", "us-central1", "42")


def job(state: str, **fields: Any) -> BatchJob:
    return BatchJob(name=NAME, state=JobState(f"JOB_STATE_{state}"), **fields)


@pytest.mark.parametrize(
    ("state", "readiness"),
    [
        ("UNSPECIFIED", ReadinessState.NOT_YET),
        ("QUEUED", ReadinessState.NOT_YET),
        ("PENDING", ReadinessState.NOT_YET),
        ("RUNNING", ReadinessState.NOT_YET),
        ("UPDATING", ReadinessState.NOT_YET),
        ("CANCELLING", ReadinessState.NOT_YET),
        ("SUCCEEDED", ReadinessState.READY),
        ("PARTIALLY_SUCCEEDED", ReadinessState.READY),
        ("FAILED", ReadinessState.NEVER),
        ("CANCELLED", ReadinessState.NEVER),
        ("EXPIRED", ReadinessState.NEVER),
        ("PAUSED", ReadinessState.NEVER),
    ],
)
def test_job_is_judged_by_its_state(state: str, readiness: ReadinessState) -> None:
    check = job_readiness(job(state))
    assert check.state is readiness
    assert f"{NAME} ({state})" in check.reason


@pytest.mark.parametrize(
    ("output", "text"),
    [
        pytest.param(
            BigQueryAddress("my-shop", "books", "answers"), "bq://my-shop.books.answers", id="table"
        ),
        pytest.param(None, "", id="none"),
    ],
)
def test_ready_job_hands_on_json_scalars(output: BigQueryAddress | None, text: str) -> None:
    assert job_readiness(job("SUCCEEDED", output=output)).result == {
        "job_name": str(NAME),
        "state": "JOB_STATE_SUCCEEDED",
        "output": text,
    }


def test_hopeless_job_says_why_and_where_to_look() -> None:
    reason = job_readiness(job("FAILED", error=JobError(3, "no such dataset"))).reason
    assert "Error: [code 3] no such dataset" in reason
    assert NAME.console_url in reason


def test_hopeless_job_without_a_reason_makes_none_up() -> None:
    assert "Error: " not in job_readiness(job("EXPIRED")).reason


@pytest.mark.parametrize("check", [not_yet("later"), never("gone")], ids=["not-yet", "never"])
def test_only_a_ready_look_has_a_result(check: Any) -> None:
    assert check.result is None


def test_ready_look_holds_what_it_is_given() -> None:
    assert ready("there", rows=3, output="gs://books/out").result == {"rows": 3, "output": "gs://books/out"}


READY, NOT_YET, NEVER = ReadinessState.READY, ReadinessState.NOT_YET, ReadinessState.NEVER


@pytest.mark.parametrize(
    ("rows", "failed", "expected", "allowed", "readiness"),
    [
        pytest.param(9, 0, 10, 0.0, NOT_YET, id="one-row-short"),
        pytest.param(9, 9, 10, 0.0, NOT_YET, id="failures-are-judged-when-complete"),
        pytest.param(0, 0, 10, 1.0, NOT_YET, id="nothing-yet"),
        pytest.param(10, 0, 10, 0.0, READY, id="complete"),
        pytest.param(11, 0, 10, 0.0, READY, id="more-than-expected"),
        pytest.param(10, 1, 10, 0.1, READY, id="as-many-failures-as-allowed"),
        pytest.param(10, 2, 10, 0.1, NEVER, id="one-failure-too-many"),
        pytest.param(10, 1, 10, 0.0, NEVER, id="no-failure-allowed"),
        pytest.param(10, 10, 10, 1.0, READY, id="all-failures-allowed"),
        pytest.param(0, 0, 0, 0.0, READY, id="nothing-expected"),
        pytest.param(5, 0, None, 0.0, READY, id="complete-by-the-end-of-the-job"),
        pytest.param(5, 5, None, 0.5, NEVER, id="failed-by-the-end-of-the-job"),
        pytest.param(0, 0, None, 1.0, NEVER, id="empty-by-the-end-of-the-job"),
    ],
)
def test_rows_are_judged(
    rows: int, failed: int, expected: int | None, allowed: float, readiness: ReadinessState
) -> None:
    check = rows_readiness(
        "gs://books/out", rows=rows, failed=failed, expected=expected, max_failed_fraction=allowed
    )
    assert check.state is readiness
    assert check.reason.startswith("gs://books/out ")


def test_ready_rows_hand_on_their_numbers() -> None:
    check = rows_readiness("gs://books/out", rows=10, failed=1, expected=10, max_failed_fraction=0.1)
    assert check.result == {"output": "gs://books/out", "rows": 10, "failed": 1}


@pytest.mark.parametrize(
    ("rows", "failed", "expected", "reason"),
    [
        pytest.param(3, 0, 10, "has 3 of 10 rows", id="missing-rows"),
        pytest.param(0, 0, None, "is complete, but has no rows", id="empty"),
        pytest.param(
            4, 1, 4, "1 of them failed (25.00%), and max_failed_fraction allows 5.00%", id="failures"
        ),
    ],
)
def test_reason_names_the_numbers(rows: int, failed: int, expected: int | None, reason: str) -> None:
    check = rows_readiness(
        "gs://books/out", rows=rows, failed=failed, expected=expected, max_failed_fraction=0.05
    )
    assert reason in check.reason
