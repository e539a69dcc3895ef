"""A submission and its tries, for the tests of submit_once."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.jobs.submission import JobRequest
from airflow_gemini_batch.jobs.submit_once import submit_once
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.support.jobs import job_request, wait_for

LOG = logging.getLogger("submission")


class Submission:
    """One submission: its identity, its tries, and what the tries have done."""

    def __init__(self, vertex: LocalVertex, client: BatchJobClient, bucket: str) -> None:
        self.identity = uuid.uuid4().hex
        self.client = client
        self.attempts: list[int] = []
        self.pauses: list[float] = []
        self._vertex = vertex
        self._bucket = bucket

    def request(self, attempt: int = 0) -> JobRequest:
        labels = {"gemini_batch_id": self.identity, "attempt": str(attempt)}
        return job_request(self._bucket, labels=labels)

    def earlier(self, state: JobState, fault: str | None = None, **arguments: float) -> BatchJob:
        """Create a job as an earlier try would have, and wait until it is in a state."""
        if fault:
            self._vertex.faults.plan(fault, **arguments)
        job = wait_for(self.client, self.client.create(self.request()).name, state)
        self._vertex.requests.clear()
        return job

    def submit(
        self,
        pause: float = 0.0,
        meanwhile: Callable[[], object] | None = None,
        **settings: Any,
    ) -> BatchJob:
        """Run one try.

        :param pause: seconds to wait in earnest where the try would wait longer.
        :param meanwhile: what happens between its look for a job and its create call.
        :param settings: of ``submit_once``.
        """

        def make_request(attempt: int) -> JobRequest:
            self.attempts.append(attempt)
            if meanwhile:
                meanwhile()
            return self.request(attempt)

        def sleep(seconds: float) -> None:
            self.pauses.append(seconds)
            time.sleep(pause)

        patience = Patience(sleep=sleep)
        return submit_once(self.client, self.identity, make_request, LOG, patience=patience, **settings).job


def creates(vertex: LocalVertex) -> int:
    """Return the number of create calls."""
    return vertex.requests.counts.get("create", 0)
