"""A row that was refused once costs nothing in the nights after: it is listed, and asked again only on purpose."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_gemini_batch import (
    BuildEmbeddingRequestsOperator,
    BuildGeminiRequestsOperator,
    LandEmbeddingsOperator,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
    SubmitTextEmbeddingBatchOperator,
)
from tests.operators.steps import BOOKS, MODEL, PROMPT, book
from tests.support.requests_data import upload
from tests.support.tables import bigquery_client, fill, make_dataset
from tests.support.tasks import TaskInstance, run_task

PATIENT = {
    "poll_interval": 0.03,
    "max_row_retries": 0,
    "max_failed_fraction": 1.0,
    "failures_are_landed": True,
}


class Nights:
    """A pipeline of one kind of model between tables or files."""

    def __init__(self, stack: Any, vertex: Any, bucket: str, model: str, ending: str = "") -> None:
        self._stack, self._vertex = stack, vertex
        self._place = f"gs://{bucket}" if ending else make_dataset(stack)
        self._bucket = bucket
        self._source = f"{self._place}/books.jsonl" if ending else f"{self._place}.books"
        self.target = f"{self._place}/landed.{ending}" if ending else f"{self._place}.landed"
        self._model = model
        self._embeds = "embedding" in model
        self._nights = 0

    def stock(self, *numbers: int) -> None:
        rows = [book(number) for number in numbers]
        if self._place.startswith("gs://"):
            upload(self._stack, self._bucket, "books.jsonl", rows)
        else:
            bigquery_client(self._stack).delete_table(self._source.removeprefix("bq://"), not_found_ok=True)
            fill(self._stack, self._source, BOOKS, rows)

    def report(self, **arguments: Any) -> dict[str, Any]:
        """Return what a build counts."""
        ti = TaskInstance(task_id="build", run_id=f"night-{self._nights}")
        self._build(ti, on_empty="succeed", **arguments)
        report: dict[str, Any] = ti.xcoms["report"]
        return report

    def night(self, *, refused: bool = False, marked: bool = False, **arguments: Any) -> int:
        """Run all steps; returns how many rows were asked.

        :param refused: the service refuses all of them, which fails the land task.
        :param marked: name the target in the job's labels. Of a marked run whose failures another run has replaced, the
            rows count as under way for an hour.
        """
        self._nights += 1
        run_id = f"night-{self._nights}"
        if refused:
            self._vertex.faults.plan("all_rows_failed", status="INVALID_ARGUMENT", message="no")
        requests = self._build(TaskInstance(task_id="build", run_id=run_id), **arguments)
        submit = SubmitTextEmbeddingBatchOperator if self._embeds else SubmitGeminiBatchOperator
        target = self.target if marked else None
        task: Any = submit(
            task_id="submit", model=self._model, requests=requests[0], target=target, **PATIENT
        )
        manifest = run_task(task, TaskInstance(task_id="submit", run_id=run_id))
        land = LandEmbeddingsOperator if self._embeds else LandGeminiResultsOperator
        failing = (
            pytest.raises(AirflowFailException, match="ask_failed_again=1") if refused else nullcontext()
        )
        with failing:
            run_task(land(task_id="land", manifest=manifest, key="isbn", target=self.target))
        return sum(manifest["counts"].values())

    def _build(self, ti: TaskInstance, **arguments: Any) -> Any:
        settings = {"task_id": "build", "source": self._source, "key": "isbn", "model": self._model}
        requests = f"gs://{self._bucket}/requests" if self._model.startswith("gemini-embedding") else None
        settings |= {"target": self.target, "requests": requests, **arguments}
        if self._embeds:
            return run_task(BuildEmbeddingRequestsOperator(text="title", **settings), ti)
        return run_task(BuildGeminiRequestsOperator(**{"prompt": PROMPT, **settings}), ti)


@pytest.fixture
def nights(request, gemini_batch_stack, vertex, bucket):
    return Nights(gemini_batch_stack, vertex, bucket, *request.param)


def counted(nights: Nights, **arguments: Any) -> tuple[int, int, int]:
    report = nights.report(**arguments)
    return report["requests"], report["done"], report["failed_before"]


@pytest.mark.parametrize(
    "nights",
    [
        (MODEL, "jsonl"),
        ("text-embedding-005", ""),
        ("text-embedding-005", "parquet"),
        ("gemini-embedding-001", ""),
        ("gemini-embedding-001", "jsonl"),
    ],
    ids="-".join,
    indirect=True,
)
def test_row_that_was_refused_is_not_paid_again(vertex, nights):
    nights.stock(0)
    assert nights.night(refused=True) == 1  # there is no target yet
    vertex.requests.clear()
    with pytest.raises(AirflowSkipException, match="no new rows, and 1 that failed for good"):
        nights.night()
    assert vertex.requests.counts.get("create", 0) == 0
    nights.stock(0, 1)
    assert counted(nights) == (1, 0, 1)


@pytest.mark.parametrize("nights", [(MODEL, ""), (MODEL, "parquet")], ids="-".join, indirect=True)
def test_row_that_was_refused_is_asked_again_on_purpose_only(nights):
    nights.stock(0, 1)
    assert nights.night() == 2
    nights.stock(0, 1, 2)
    assert nights.night(refused=True) == 1
    nights.stock(0, 1, 2, 3)
    assert counted(nights) == (1, 2, 1)
    assert nights.night(refused=True, ask_failed_again=1) == 2
    assert counted(nights, ask_failed_again="1") == (1, 2, 1)
    assert counted(nights, ask_failed_again=2) == (2, 2, 0)
    assert nights.night(ask_failed_again="always") == 2
    assert counted(nights) == (0, 4, 0)


def test_another_question_is_asked(gemini_batch_stack, vertex, bucket):
    nights = Nights(gemini_batch_stack, vertex, bucket, MODEL)
    nights.stock(0)
    nights.night(refused=True, marked=True)
    # The run has landed, so it is not under way, though the target has none of its rows.
    assert counted(nights) == (0, 0, 1)
    assert counted(nights, prompt="In brief: [[ title ]]") == (1, 0, 0)
    assert counted(nights, incremental=False) == (1, 0, 0)
    assert counted(nights, failed_target=f"{nights.target}_elsewhere") == (1, 0, 0)
    bigquery_client(gemini_batch_stack).query_and_wait(
        f"DELETE FROM `{nights.target.removeprefix('bq://')}__failed` WHERE isbn = '978-0'"
    )
    assert counted(nights) == (1, 0, 0)


@pytest.mark.parametrize("given", ["sometimes", -1, "{{ x }}"])
def test_parameter_that_is_not_a_number_is_refused(gemini_batch_stack, vertex, bucket, given):
    nights = Nights(gemini_batch_stack, vertex, bucket, MODEL)
    nights.stock(0)
    with pytest.raises(
        AirflowFailException, match="ask_failed_again has to be 0, a number of runs or 'always'"
    ):
        nights.report(ask_failed_again=given)
