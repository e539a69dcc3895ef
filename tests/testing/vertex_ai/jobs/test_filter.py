from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.testing.vertex_ai.errors import CallError
from airflow_gemini_batch.testing.vertex_ai.jobs.filter import parse_filter
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job, JobRequest, State
from airflow_gemini_batch.testing.vertex_ai.jobs.models import Model

JOB = Job(
    JobRequest(
        location="us-central1",
        model=Model("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash", GENERATE_CONTENT),
        sources=(GcsAddress("books", "in.jsonl"),),
        destination=GcsAddress("books", "out"),
        body={
            "displayName": "nightly books (1)",
            "labels": {"team": "search", "airflow-dag": "nightly", "empty": ""},
        },
    ),
    project_number="1",
    created=datetime(2026, 3, 1, 12, tzinfo=UTC),
    state=State.RUNNING,
)

TRUE = [
    "",
    "   ",
    'display_name="nightly books (1)"',
    "displayName='nightly books (1)'",
    'display_name : "nightly*"',
    'display_name:"*(1)"',
    "display_name:*books*",
    'display_name!="weekly"',
    'model_display_name="gemini-2.5-flash"',
    "modelDisplayName:gemini*",
    "state=JOB_STATE_RUNNING",
    'state="JOB_STATE_RUNNING"',
    "state!=JOB_STATE_FAILED",
    'create_time>"2026-03-01T11:59:59Z"',
    "create_time>=2026-03-01T12:00:00Z",
    'createTime<"2026-03-01T13:30:00+01:00"',
    'create_time="2026-03-01T12:00:00.000000Z"',
    "create_time>2026-02-28",
    "labels.team=search",
    'labels.team="search"',
    "labels.airflow-dag=nightly",
    'labels."airflow-dag"="nightly"',
    "labels.team:*",
    "labels.empty:*",
    "labels:team",
    "labels.team!=ads",
    "labels.owner!=ads",
    "NOT labels.owner:*",
    "NOT (state=JOB_STATE_FAILED OR state=JOB_STATE_EXPIRED)",
    "labels.team=search AND state=JOB_STATE_RUNNING",
    "labels.team=ads OR labels.team=search",
    # OR binds tighter than AND, as google.aip.dev/160 has it.
    "state=JOB_STATE_RUNNING OR state=JOB_STATE_FAILED AND labels.team=search",
    "(state=JOB_STATE_FAILED AND labels.team=ads) OR labels.team=search",
]
FALSE = [
    'display_name="nightly"',
    'display_name:"nightly"',
    'display_name="nightly*"',
    'display_name!="nightly books (1)"',
    "state=JOB_STATE_PENDING",
    "create_time<2026-03-01T12:00:00Z",
    "labels.team=ads",
    "labels.team=search*",
    "labels.owner:*",
    "labels:owner",
    "NOT labels.team:*",
    "labels.team=search AND state=JOB_STATE_FAILED",
    "labels.team=search OR state=JOB_STATE_FAILED AND labels.team=ads",
]
REFUSED = {
    "owner=me": "unknown field 'owner'",
    "state": "it ends too early",
    "state=": "it ends too early",
    "state RUNNING": "an operator is expected after 'state'",
    "state=RUNNING": "'RUNNING' is not a state",
    "state>JOB_STATE_FAILED": "the field 'state' does not take '>'",
    "display_name>a": "does not take '>'",
    "create_time:*": "does not take ':'",
    "create_time>yesterday": "'yesterday' is not an RFC 3339 time",
    "labels.a<b": "does not take '<'",
    'display_name="open': "can't read",
    "(state=JOB_STATE_FAILED": "it ends too early",
    "state=JOB_STATE_FAILED)": "unexpected ')'",
    "AND state=JOB_STATE_FAILED": "an operator is expected after 'AND'",
    "state=JOB_STATE_FAILED AND": "it ends too early",
    "state=JOB_STATE_FAILED state=JOB_STATE_FAILED": "unexpected 'state'",
    "state=JOB_STATE_FAILED && labels.a=b": "unexpected '&&'",
    '"state"=JOB_STATE_FAILED': "a field is expected",
    "(" * 60 + "state=JOB_STATE_FAILED" + ")" * 60: "too many parentheses",
}


@pytest.mark.parametrize("text", TRUE)
def test_lets_through(text: str) -> None:
    assert parse_filter(text)(JOB) is True


@pytest.mark.parametrize("text", FALSE)
def test_holds_back(text: str) -> None:
    assert parse_filter(text)(JOB) is False


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_refuses(text: str, reason: str) -> None:
    with pytest.raises(CallError) as refused:
        parse_filter(text)
    assert refused.value.status == "INVALID_ARGUMENT"
    assert reason in refused.value.message
    assert text in refused.value.message
