from __future__ import annotations

import pytest

from airflow_gemini_batch.testing.stack import LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.vertex.client import BatchJobClient
from tests.jobs.submission import Submission
from tests.support.requests_data import request, upload


@pytest.fixture
def submission(
    gemini_batch_stack: LocalStack, vertex: LocalVertex, client: BatchJobClient, bucket: str
) -> Submission:
    """A submission of one request that has had no try yet."""
    upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    return Submission(vertex, client, bucket)
