"""Jobs for the tests of what talks to Vertex AI: made by the real client, or without data."""

from __future__ import annotations

import time
from typing import Any

import requests
from google.oauth2.credentials import Credentials

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.jobs.submission import JobRequest
from airflow_gemini_batch.testing.stack import LOCATION, PROJECT
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.client import BatchJobClient
from airflow_gemini_batch.vertex.resource import VertexJobName

# Where a client stands that asks the local server.
HERE: dict[str, Any] = {"project": PROJECT, "location": LOCATION}


def make_client(
    vertex: LocalVertex, kind: type[BatchJobClient] = BatchJobClient, **settings: float
) -> BatchJobClient:
    return kind(credentials=Credentials("token"), base_url=vertex.url, **HERE, **settings)


def job_request(bucket: str, **changes: Any) -> JobRequest:
    """Return a create call for ``in.jsonl`` of a bucket, which need not exist for a job that is never run."""
    content: dict[str, Any] = {
        "model": "publishers/google/models/gemini-3.8-flash",
        "requests": (parse_address(f"gs://{bucket}/in.jsonl"),),
        "destination": parse_address(f"gs://{bucket}/out"),
        "display_name": "nightly.describe",
        "labels": {"team": "bookshop"},
        "model_parameters": {},
    }
    return JobRequest(**{**content, **changes})


def seed(vertex: LocalVertex, count: int = 1, **fields: Any) -> list[VertexJobName]:
    """Start jobs without data, oldest first; see :class:`airflow_gemini_batch.testing.vertex_ai.jobs.bare.BareJobs`."""
    answer = requests.post(
        f"{vertex.url}/local/v1/jobs:seed", json={"count": count, "queue_seconds": 0.0, **fields}, timeout=10
    )
    answer.raise_for_status()
    return [VertexJobName.parse(name) for name in answer.json()["names"]]


def wait_for(client: BatchJobClient, name: VertexJobName, *states: JobState) -> BatchJob:
    """Wait until a job is in one of the states."""
    deadline = time.monotonic() + 60
    while (job := client.get(name)).state not in states:
        assert time.monotonic() < deadline, f"{job} did not become {states} in time"
        time.sleep(0.02)
    return job
