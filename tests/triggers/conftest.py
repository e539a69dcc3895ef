from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_gemini_batch.testing.stack import LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex


@pytest.fixture
def vertex(gemini_batch_stack: LocalStack) -> Iterator[LocalVertex]:
    """The server, without memory of the tests before; it behaves again when the test ends."""
    vertex = gemini_batch_stack.vertex
    vertex.requests.clear()
    yield vertex
    vertex.faults.clear()
