"""Every fault of the service from end to end: one table of stories, each with the end that it has to come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from tests.operators.fault_scenarios import ROWS, Answers, Fails, Killed, Scenario
from tests.operators.fault_table import SCENARIOS
from tests.operators.stage import Stage, WorkerDied, check_failure, make_source, states_of

# Shorter than the delays of the table; only where these are told, since a busy machine delays as well.
READ_TIMEOUT = 0.4


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def scenario(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, short_timeouts: None
) -> Scenario:
    """Tell a story in which nobody waits for minutes."""
    if request.param.delays:
        monkeypatch.setattr(GeminiBatchHook, "read_timeout", READ_TIMEOUT)
    return request.param


def check_manifest(manifest: dict[str, Any], end: Answers, jobs: Sequence[dict[str, Any]]) -> None:
    assert {outcome: count for outcome, count in manifest["counts"].items() if count} == end.counts
    assert sum(manifest["counts"].values()) == ROWS
    (one,) = manifest["rounds"]
    assert {kind: count for kind, count in one["surplus"].items() if count} == end.surplus
    assert one["state"] == f"JOB_STATE_{end.state}"
    assert one["job_name"] in {job["name"] for job in jobs if job["state"] == one["state"]}
    assert manifest["identity"] == jobs[0]["labels"]["gemini_batch_id"]


def test_faults_come_to_a_true_end_and_are_paid_once(gemini_batch_stack, vertex, bucket, scenario):
    stage = Stage(vertex, make_source(gemini_batch_stack, scenario, bucket))
    for one in scenario.tries:
        if isinstance(one.end, Answers):
            manifest = stage.run(one, max_row_retries=0)
        else:
            with pytest.raises((Exception, WorkerDied)) as raised:
                stage.run(one, max_row_retries=0)
        stage.check_calls()
        jobs = stage.jobs(one.jobs)
        assert states_of(jobs) == one.jobs
        assert len({job["labels"]["gemini_batch_id"] for job in jobs}) <= 1
        match one.end:
            case Answers():
                check_manifest(manifest, one.end, jobs)
            case Fails():
                check_failure(raised.value, one.end, jobs)
            case Killed():
                assert isinstance(raised.value, WorkerDied)


def test_table_names_enough_and_no_name_twice():
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names) >= 30
