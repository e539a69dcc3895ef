"""Which jobs a watch tells of, and how often."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState
from airflow_gemini_batch.jobs.watch import JobWatch, ended_event
from airflow_gemini_batch.vertex.resource import VertexJobName

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LABELS = {"team": "search"}


def job(number: int, ended: timedelta | None = timedelta(minutes=1), **fields: object) -> BatchJob:
    """Return a job that ended so long before noon."""
    end = None if ended is None else NOON - ended
    name = VertexJobName("p-1-project", "us-central1", str(number))
    known = {"state": JobState.SUCCEEDED, "labels": LABELS, "end_time": end, **fields}
    return BatchJob(name=name, **known)  # type: ignore[arg-type]


def ids(jobs: list[BatchJob]) -> list[str]:
    return [job.name.job_id for job in jobs]


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        pytest.param(job(1), ["1"], id="ended"),
        pytest.param(job(1, labels={**LABELS, "more": "x"}), ["1"], id="more-labels"),
        pytest.param(job(1, state=JobState.FAILED), ["1"], id="failed"),
        pytest.param(job(1, state=JobState.CANCELLED), ["1"], id="cancelled"),
        pytest.param(job(1, ended=None), ["1"], id="end-without-a-time"),
        pytest.param(job(1, ended=DAY), ["1"], id="at-the-look-back"),
        pytest.param(job(1, ended=DAY + timedelta(seconds=1)), [], id="before-the-look-back"),
        pytest.param(job(1, labels={"team": "ads"}), [], id="other-value"),
        pytest.param(job(1, labels={}), [], id="no-labels"),
        pytest.param(job(1, state=JobState.RUNNING, ended=None), [], id="running"),
        pytest.param(job(1, state=JobState.CANCELLING, ended=None), [], id="cancelling"),
        pytest.param(job(1, state=JobState.PAUSED, ended=None), [], id="paused"),
    ],
)
def test_tells_once_of_a_job_that_has_ended(seen, told):
    watch = JobWatch(LABELS, DAY)
    assert ids(watch.take([seen], NOON)) == told
    assert watch.take([seen], NOON) == []


def test_tells_in_the_order_of_the_ends():
    jobs = [job(1, timedelta(hours=1)), job(2, timedelta(hours=3)), job(3, timedelta(hours=2))]
    assert ids(JobWatch(LABELS, DAY).take(jobs, NOON)) == ["2", "3", "1"]


def test_job_that_is_not_listed_for_a_while_is_not_told_again():
    watch = JobWatch(LABELS, DAY)
    watch.take([job(1)], NOON)
    assert watch.take([], NOON) == []
    assert watch.take([job(1)], NOON) == []


def test_job_that_was_told_before_is_not_told_again():
    watch = JobWatch(LABELS, DAY)
    watch.remember(["1"], NOON)
    assert ids(watch.take([job(1), job(2)], NOON)) == ["2"]
    assert watch.told == ["1", "2"]


def test_remembers_no_more_than_the_look_back():
    watch = JobWatch(LABELS, DAY)
    for hours in range(100):
        now = NOON + timedelta(hours=hours)
        ended = job(hours, -timedelta(hours=hours))
        assert ids(watch.take([ended], now)) == [str(hours)]
    assert len(watch.told) == 25 + 1  # those of the last day, and of the hour before, in which it asked last


def test_end_while_the_service_did_not_answer_is_told_afterwards():
    watch = JobWatch(LABELS, DAY)
    watch.take([], NOON)
    assert ids(watch.take([job(1, -timedelta(hours=1))], NOON + 5 * DAY)) == ["1"]


def test_event_says_what_is_known():
    whole = job(
        1,
        state=JobState.FAILED,
        display_name="nightly.describe",
        create_time=NOON - timedelta(hours=2),
        start_time=NOON - timedelta(hours=1),
        successful_count=7,
        failed_count=0,
        output=parse_address("gs://bucket/out"),
        error=JobError(8, "too much"),
    )
    assert json.loads(json.dumps(ended_event(whole))) == {
        "version": 1,
        "job_name": "projects/p-1-project/locations/us-central1/batchPredictionJobs/1",
        "state": "JOB_STATE_FAILED",
        "display_name": "nightly.describe",
        "labels": LABELS,
        "create_time": "2026-11-27T10:00:00+00:00",
        "start_time": "2026-11-27T11:00:00+00:00",
        "end_time": "2026-11-27T11:59:00+00:00",
        "successful_count": 7,
        "failed_count": 0,
        "incomplete_count": None,
        "output": "gs://bucket/out",
        "error": "[code 8] too much",
    }
