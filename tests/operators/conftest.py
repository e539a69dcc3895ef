"""For the stories of faults and of follow-ups: a server of their own, requests, and nobody who waits for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_gemini_batch.jobs.patience import Patience
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
from airflow_gemini_batch.testing.stack import PROJECT, LocalStack
from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from airflow_gemini_batch.triggers.gemini_batch import GeminiBatchJobTrigger
from tests.operators.stored_canary import Stored
from tests.support.requests_data import request, upload
from tests.support.tables import fill, make_dataset

SHORT = Patience(
    before_create=(0.01, 0.01), after_create=(0.05, 0.1, 0.5), refused_create=(), refusals=0.4, ended=0.8
)


@pytest.fixture(scope="module")
def own_vertex(local_stack: LocalStack) -> Iterator[LocalVertex]:
    """A server of its own: faster than the shared one, and a fault that is left over harms no other test."""
    with LocalVertex(
        storage_url=local_stack.storage.url,
        bigquery_url=local_stack.bigquery.url,
        project=PROJECT,
        queue_seconds=0.04,
        run_seconds=0.06,
        cancel_seconds=0.4,
    ) as vertex:
        yield vertex


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a retry that finds no job look again at once."""
    monkeypatch.setattr(SubmitBatchJobOperator, "patience", Patience(before_create=(0.01, 0.01)))


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SubmitBatchJobOperator, "patience", SHORT)
    monkeypatch.setattr(GeminiBatchJobTrigger, "patience", SHORT)


@pytest.fixture
def vertex(own_vertex, gemini_batch_stack, monkeypatch) -> Iterator[LocalVertex]:
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", own_vertex.url)
    yield own_vertex
    own_vertex.faults.clear()


@pytest.fixture
def source(gemini_batch_stack, bucket):
    """The address of a file with ten requests."""
    rows = [request(f"prompt {n}") for n in range(10)]
    return upload(gemini_batch_stack, bucket, "in/prompts.jsonl", rows)


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def books(gemini_batch_stack, dataset):
    """The address of a table with ten requests."""
    rows = [{"isbn": f"978-{n}", **request(f"prompt {n}")} for n in range(10)]
    return fill(gemini_batch_stack, f"{dataset}.books", {"isbn": "STRING", "request": "JSON"}, rows)


@pytest.fixture
def half_of_rows_missing(vertex):
    """Let the first job leave out half of its rows."""
    vertex.faults.plan("partly_succeed", share=0.5)


@pytest.fixture(params=["table", "files"])
def stored(request, gemini_batch_stack, tmp_path):
    return Stored(request.param, gemini_batch_stack, tmp_path)


@pytest.fixture
def files(gemini_batch_stack, tmp_path):
    return Stored("files", gemini_batch_stack, tmp_path)


@pytest.fixture
def logged(caplog, capsys) -> Callable[[], str]:
    """Return what was logged, wherever this release of Airflow writes it."""
    caplog.set_level("INFO")

    def logged() -> str:
        written = capsys.readouterr()
        return f"{caplog.text}{written.out}{written.err}"

    return logged
