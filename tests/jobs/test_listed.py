"""Submissions as a list of jobs shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.jobs.listed import (
    are_of_one_task_run,
    of_newest_run,
    submission_of,
    submissions_of,
    whole_readiness,
)
from airflow_gemini_batch.jobs.readiness import ReadinessState, never, not_yet
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.vertex.resource import VertexJobName

MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
READY, NOT_YET, NEVER = ReadinessState.READY, ReadinessState.NOT_YET, ReadinessState.NEVER


def job(
    id_: str, root: str = "r", number: int = 0, after: str = "", state: str = "SUCCEEDED", **more: Any
) -> BatchJob:
    """Return a job whose id begins with the minute of its creation."""
    labels = {"gemini_batch_id": f"{root}{number or ''}", "gemini_batch_last_round": "1"}
    if number:
        labels |= {
            "gemini_batch_root": root,
            "gemini_batch_round": str(number),
            "gemini_batch_after": after,
        }
    created = MIDNIGHT + timedelta(minutes=int(id_.rstrip("abcdefghijklmnopqrstuvwxyz") or 0))
    return BatchJob(
        VertexJobName("my-shop", "us-central1", id_),
        JobState(f"JOB_STATE_{state}"),
        labels=labels | more.pop("labels", {}),
        output=GcsAddress("books", id_),
        create_time=created,
        end_time=created + timedelta(minutes=1),
        **more,
    )


def ids(jobs: Any) -> list[str]:
    return [one.name.job_id for one in jobs]


@pytest.mark.parametrize(
    ("jobs", "rounds"),
    [
        pytest.param([job("1")], ["1"], id="alone"),
        pytest.param([job("2", number=1, after="1"), job("1")], ["1", "2"], id="newest-first"),
        pytest.param(
            [job("1"), job("2", number=1, after="1"), job("3", number=2, after="2")],
            ["1", "2", "3"],
            id="two-follow-ups",
        ),
        pytest.param([job("1", state="FAILED"), job("2")], ["2"], id="second-try-succeeded"),
        pytest.param([job("1", state="FAILED"), job("2", state="RUNNING")], ["2"], id="second-try-under-way"),
        pytest.param([job("1", state="FAILED"), job("2", state="CANCELLED")], ["2"], id="latest-failure"),
        pytest.param([job("1"), job("2", state="CANCELLED")], ["1"], id="created-twice"),
        pytest.param([job("1"), job("2")], ["1"], id="the-older-of-two-that-succeeded"),
        pytest.param(
            [job("1", state="EXPIRED"), job("2"), job("3", number=1, after="1")],
            ["1", "3"],
            id="the-one-that-was-followed",
        ),
        pytest.param([job("1"), job("3", number=1, after="2")], ["1"], id="follow-up-of-another-job"),
        pytest.param([job("1"), job("1")], ["1"], id="listed-twice"),
    ],
)
def test_rounds_are_put_in_order(jobs: list[BatchJob], rounds: list[str]) -> None:
    assert ids(submission_of(jobs).rounds) == rounds
    assert ids(submission_of(jobs[::-1]).rounds) == rounds


NIGHT = {"airflow_dag": "nightly", "airflow_task": "describe", "airflow_run": "r1"}


def of(number: int) -> dict[str, dict[str, str]]:
    return {"labels": {**NIGHT, "airflow_map_index": str(number)}}


@pytest.mark.parametrize(
    ("jobs", "first_jobs"),
    [
        pytest.param([job("1", "a", **of(0)), job("2", "b", **of(1))], ["1", "2"], id="mapped"),
        pytest.param(
            [job("1", "a", **of(0)), job("3", "a", 1, "1", **of(0)), job("2", "b", **of(1))],
            ["1", "2"],
            id="follow-up-is-the-newest",
        ),
        pytest.param(
            [job("1", "a", **of(0), state="FAILED"), job("2", "b", **of(0))], ["2"], id="requests-built-anew"
        ),
        pytest.param(
            [job("1", "", labels={"gemini_batch_id": ""}), job("2", "", labels={"gemini_batch_id": ""})],
            ["1", "2"],
            id="not-ours",
        ),
        pytest.param(
            [job("1"), job("2", labels={"gemini_batch_round": "one"})], ["1", "2"], id="broken-labels"
        ),
        pytest.param([], [], id="none"),
    ],
)
def test_jobs_are_grouped_by_submission(jobs: list[BatchJob], first_jobs: list[str]) -> None:
    assert ids(one.first for one in submissions_of(jobs[::-1])) == first_jobs


def test_newest_run_counts_with_all_its_jobs() -> None:
    last_night = {"labels": {**NIGHT, "airflow_run": "r0"}}
    tonight = [job("3", "a", **of(0)), job("4", "b", **of(1))]
    assert of_newest_run([*tonight, job("1", "c", **last_night), job("2", "d", **last_night)]) == tonight
    unlabelled = [job("2", "a"), job("1", "b")]
    assert of_newest_run(unlabelled) == unlabelled[:1]
    assert of_newest_run([]) == []


@pytest.mark.parametrize(
    ("jobs", "may_go_on"),
    [
        pytest.param([job("1")], True, id="first-of-one-follow-up"),
        pytest.param([job("1"), job("2", number=1, after="1")], False, id="last-follow-up"),
        pytest.param([job("1", labels={"gemini_batch_last_round": "0"})], False, id="none-allowed"),
        pytest.param([job("1", labels={"gemini_batch_last_round": ""})], True, id="of-an-earlier-release"),
        pytest.param([job("1", labels={"gemini_batch_id": ""})], False, id="not-ours"),
        pytest.param([job("1", state="EXPIRED")], True, id="expired"),
        pytest.param([job("1", state="FAILED")], False, id="failed"),
        pytest.param([job("1", state="RUNNING")], False, id="running"),
    ],
)
def test_follow_up_is_waited_for_as_long_as_one_can_come(jobs: list[BatchJob], may_go_on: bool) -> None:
    until = submission_of(jobs).may_go_on_until(600)
    assert until == (MIDNIGHT + timedelta(minutes=12) if may_go_on else None)


@pytest.mark.parametrize(
    ("jobs", "readiness"),
    [
        pytest.param([job("1")], READY, id="succeeded"),
        pytest.param([job("1", state="FAILED")], NEVER, id="failed"),
        pytest.param([job("1"), job("2", number=1, after="1")], READY, id="followed"),
        pytest.param(
            [job("1"), job("2", number=1, after="1", state="RUNNING")], NOT_YET, id="follow-up-runs"
        ),
        pytest.param([job("1"), job("2", number=1, after="1", state="FAILED")], READY, id="follow-up-failed"),
    ],
)
def test_submission_is_judged_by_its_last_job(jobs: list[BatchJob], readiness: ReadinessState) -> None:
    check = submission_of(jobs).readiness()
    assert check.state is readiness
    if check.result:
        assert (check.result["job_name"], check.result["output"]) == (str(jobs[0].name), "gs://books/1")
        assert check.result["jobs"] == [str(one.name) for one in jobs]
        assert check.result["outputs"] == [str(one.output) for one in jobs]


def test_submission_that_may_go_on_is_not_ready() -> None:
    check = submission_of([job("1")]).readiness("2 rows have no answer")
    assert check.state is NOT_YET
    assert "2 rows have no answer" in check.reason


@pytest.mark.parametrize(
    ("others", "readiness"),
    [([], READY), ([not_yet("later")], NOT_YET), ([not_yet("later"), never("failed")], NEVER)],
)
def test_several_submissions_are_judged_as_one(others: list[Any], readiness: ReadinessState) -> None:
    parts = [submission_of([job("1", "a")]).readiness(), submission_of([job("2", "b")]).readiness(), *others]
    check = whole_readiness(parts)
    assert check.state is readiness
    if check.result:
        assert check.result["outputs"] == ["gs://books/1", "gs://books/2"]
        assert check.result["output"] == "gs://books/1"


@pytest.mark.parametrize(
    ("runs", "same"), [(["r1"], True), (["r1", "r1"], True), (["r1", "r2"], False), (["", ""], False)]
)
def test_submissions_of_one_task_run_belong_together(runs: list[str], same: bool) -> None:
    found = [
        submission_of([job(str(n), f"root{n}", labels={**NIGHT, "airflow_run": run})])
        for n, run in enumerate(runs)
    ]
    assert are_of_one_task_run(found) is same
