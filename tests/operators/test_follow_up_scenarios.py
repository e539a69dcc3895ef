"""Rows that are worth another job, in whatever way it goes: nothing is lost, and nothing paid twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_gemini_batch.testing.stack import LocalStack
from tests.operators.fault_scenarios import ROWS, Answers, Fails, Killed
from tests.operators.follow_up_table import SCENARIOS, Rerun
from tests.operators.stage import Stage, WorkerDied, check_failure, make_source, states_of
from tests.support.requests_data import lines
from tests.support.tables import read


def rows_read(stack: LocalStack, job: dict[str, Any]) -> int:
    """Return how many requests a job reads."""
    config = job["inputConfig"]
    if "bigquerySource" in config:
        return len(read(stack, config["bigquerySource"]["inputUri"]))
    return sum(len(lines(stack, uri)) for uri in config["gcsSource"]["uris"])


def check_manifest(manifest: dict[str, Any], end: Answers, jobs: Sequence[dict[str, Any]]) -> None:
    assert {outcome: count for outcome, count in manifest["counts"].items() if count} == end.counts
    rounds = manifest["rounds"]
    assert [one["state"] for one in rounds][-1] == f"JOB_STATE_{end.state}"
    assert manifest["console_url"].endswith(
        f"{rounds[-1]['job_name'].rpartition('/')[2]}?project=123456789012"
    )
    assert manifest["identity"] == jobs[0]["labels"]["gemini_batch_id"]
    # Each round asks again what the one before has left over, and nothing else.
    sent = [sum(one["counts"].values()) for one in rounds]
    left = [one["counts"]["retryable"] + one["counts"]["missing"] for one in rounds]
    assert sent == [ROWS, *left[:-1]]
    assert len({one["job_name"] for one in rounds}) == len(rounds)
    outputs = [output for output in manifest["outputs"] if output]
    assert len(set(outputs)) == len(outputs)


@pytest.mark.parametrize("told", SCENARIOS, ids=lambda told: told.name)
def test_rows_worth_another_job_get_one_and_are_paid_once(
    gemini_batch_stack, short_timeouts, vertex, bucket, told: Rerun
):
    stage = Stage(vertex, make_source(gemini_batch_stack, told.scenario, bucket))
    for one in told.scenario.tries:
        if isinstance(one.end, Answers):
            manifest = stage.run(one, max_row_retries=told.retries)
        else:
            with pytest.raises((Exception, WorkerDied)) as raised:
                stage.run(one, max_row_retries=told.retries)
        stage.check_calls(creates=1 + told.retries)
        jobs = stage.jobs(one.jobs)
        assert states_of(jobs) == one.jobs
        match one.end:
            case Answers():
                check_manifest(manifest, one.end, jobs)
            case Fails():
                check_failure(raised.value, one.end, jobs)
            case Killed():
                assert isinstance(raised.value, WorkerDied)
    assert tuple(rows_read(gemini_batch_stack, job) for job in jobs) == told.rows
    assert (
        len({job["labels"].get("gemini_batch_root", job["labels"]["gemini_batch_id"]) for job in jobs}) == 1
    )


def test_table_names_no_story_twice():
    names = [told.name for told in SCENARIOS]
    assert len(set(names)) == len(names)
