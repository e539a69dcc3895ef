from __future__ import annotations

import pytest

from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.vertex.resource import VertexJobName


@pytest.mark.parametrize(
    ("state", "stage", "waits", "ended"),
    [
        ("UNSPECIFIED", Stage.QUEUED, True, False),
        ("QUEUED", Stage.QUEUED, True, False),
        ("PENDING", Stage.QUEUED, True, False),
        ("RUNNING", Stage.RUNNING, True, False),
        ("UPDATING", Stage.RUNNING, True, False),
        ("CANCELLING", Stage.STOPPING, True, False),
        ("PAUSED", Stage.STUCK, False, False),
        ("SUCCEEDED", Stage.SUCCEEDED, False, True),
        ("PARTIALLY_SUCCEEDED", Stage.SUCCEEDED, False, True),
        ("FAILED", Stage.FAILED, False, True),
        ("CANCELLED", Stage.FAILED, False, True),
        ("EXPIRED", Stage.FAILED, False, True),
    ],
)
def test_stage_of_every_state(state: str, stage: Stage, waits: bool, ended: bool) -> None:
    found = JobState(f"JOB_STATE_{state}")
    assert (found.short, found.stage, found.stage.waits, found.stage.ended) == (state, stage, waits, ended)


def test_every_state_has_a_stage() -> None:
    assert {state for state in JobState if isinstance(state.stage, Stage)} == set(JobState)


def test_text_of_a_job_names_it_and_its_state() -> None:
    name = VertexJobName("my-shop", "us-central1", "42")
    assert str(BatchJob(name, JobState.RUNNING)) == f"{name} (RUNNING)"
