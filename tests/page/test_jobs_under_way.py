"""Jobs that tasks wait for, on the page: asked at the local Vertex AI with the task's connection."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from airflow_gemini_batch.core.labels import AFTER_LABEL, ROOT_LABEL, ROUND_LABEL
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.operators.links import FollowUpJobLink
from airflow_gemini_batch.page.task_jobs import WaitedFor
from airflow_gemini_batch.page.under_way import JobReader
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.page.stored import CONSOLE, JOB, manifest, store
from tests.page.test_pages import JOBS, TASK, text


@pytest.fixture
def answers(viewer, monkeypatch):
    """What Vertex AI says, by job; a test fills it. ``asked`` lists what was asked for."""
    from airflow_gemini_batch.page import app

    known: dict[str, BatchJob] = {}

    def read(jobs):
        for one in jobs:
            asked.append(one)
            yield known[one.job_name]

    asked: list[WaitedFor] = []
    monkeypatch.setattr(app, "_reader", JobReader(read))
    return known, asked


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        (
            {"state": JobState.PENDING, "create_time": ago(hours=3)},
            "PENDING gemini-3.8-flash not yet not yet not yet queued for 3 h",
        ),
        (
            {
                "state": JobState.RUNNING,
                "create_time": ago(days=5),
                "start_time": ago(days=3),
                "successful_count": 1234,
                "failed_count": 5,
            },
            "RUNNING gemini-3.8-flash 1,234 answered, 5 failed so far not yet not yet queued 2 d, running for 3 d",
        ),
        (
            {
                "state": JobState.SUCCEEDED,
                "create_time": ago(hours=3),
                "start_time": ago(hours=2),
                "end_time": ago(hours=1),
                "successful_count": 7,
                "failed_count": 0,
            },
            "SUCCEEDED gemini-3.8-flash 7 answered not yet not yet queued 60 min, ran 60 min",
        ),
        (
            {
                "state": JobState.RUNNING,
                "labels": {ROOT_LABEL: "1f" * 16, ROUND_LABEL: "2", AFTER_LABEL: "122"},
                "successful_count": 7,
            },
            "RUNNING, follow-up 2 gemini-3.8-flash 7 answered so far not yet not yet unknown",
        ),
        ({"state": JobState.FAILED}, "FAILED gemini-3.8-flash not yet not yet not yet unknown"),
        (None, "unknown gemini-3.8-flash unknown not yet not yet created 3 h"),
    ],
    ids=["queued", "running", "ended", "follow-up", "without-times", "no-answer"],
)
def test_job_that_is_waited_for_is_shown_as_vertex_ai_says(viewer, answers, facts, shown):
    known, asked = answers
    if facts:
        known[JOB] = BatchJob(VertexJobName.parse(JOB), **facts)
    store(state="deferred", waits_for=JOB, rendered={"model": "gemini-3.8-flash"})
    assert f"deferred Vertex AI: {shown}" in text(viewer.get(JOBS))
    assert shown.split()[0] in text(viewer.get(TASK))
    assert asked[0].gcp_conn_id == "my_connection"
    assert asked[0].impersonation_chain == ("a@p.iam.gserviceaccount.com",)


FIELDS = {"model": "m", "gcp_conn_id": "mine", "impersonation_chain": ["a"], "quota_project_id": None}
FOLLOW_UP = {FollowUpJobLink.key: VertexJobName.parse(JOB).sibling("456").console_url}


@pytest.mark.parametrize(
    ("stored", "asks"),
    [
        ({"rendered": FIELDS}, [WaitedFor(JOB, "mine", ("a",))]),
        ({"rendered": FIELDS, "others": FOLLOW_UP}, [WaitedFor(JOB.replace("123", "456"), "mine", ("a",))]),
        ({}, []),
        ({"rendered": [1]}, []),
        ({"rendered": FIELDS, "url": "https://console.cloud.google.com/"}, []),
        ({"rendered": FIELDS, "url": CONSOLE.replace("us-central1", "evil.example.com")}, []),
        ({"rendered": FIELDS, "state": "scheduled"}, []),
        ({"rendered": FIELDS, "state": "failed"}, []),
    ],
    ids=[
        "job",
        "follow-up",
        "no-fields",
        "odd-fields",
        "other-page",
        "other-host",
        "will-run-again",
        "ended",
    ],
)
def test_job_that_a_worker_waits_for_is_asked_with_the_arguments_of_its_task(viewer, answers, stored, asks):
    known, asked = answers
    known.update(
        {one.job_name: BatchJob(VertexJobName.parse(one.job_name), JobState.RUNNING) for one in asks}
    )
    store(**{"state": "running", **stored})
    assert ("Vertex AI: RUNNING m" in text(viewer.get(JOBS))) is bool(asks)
    assert asked == asks


def test_trigger_that_cannot_be_read_leaves_its_job_unknown(viewer, answers):
    from airflow.models.trigger import Trigger
    from airflow.utils.session import create_session
    from sqlalchemy import update

    store(state="deferred", waits_for=JOB)
    with create_session() as session:
        session.execute(update(Trigger.__table__).values(kwargs="{}"))
    assert "deferred Vertex AI: unknown" in text(viewer.get(JOBS))
    assert answers[1] == []


def test_page_of_ended_tasks_asks_nothing(viewer, answers):
    store(result=manifest())
    viewer.get(JOBS)
    viewer.get(TASK)
    assert answers[1] == []


def test_page_refreshes_itself_only_while_jobs_are_under_way(viewer, answers):
    store(result=manifest())
    refreshes = re.compile('http-equiv="refresh"')
    assert not refreshes.search(viewer.get(JOBS).text)
    assert not refreshes.search(viewer.get(TASK).text)
    store(task_id="b", state="deferred", waits_for=JOB)
    assert refreshes.search(viewer.get(JOBS).text)
    assert refreshes.search(viewer.get(TASK.replace("submit", "b")).text)
