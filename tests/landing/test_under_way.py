"""Which requests of other runs a build leaves out, by the jobs that the service lists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.labels import target_labels
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.landing.under_way import TIME_TO_LAND, RowsUnderWay
from airflow_gemini_batch.requests.prompts import PromptTemplate
from airflow_gemini_batch.requests.spec import BuildPlan
from airflow_gemini_batch.requests.templates import gemini_request
from airflow_gemini_batch.vertex.resource import VertexJobName

TARGET = "no/such/file.jsonl"
DATASET = BigQueryAddress("my-shop", "books")
LABELS = {
    **target_labels(TARGET),
    "airflow_dag": "nightly",
    "airflow_task": "submit",
    "airflow_run": "first",
    "gemini_batch_id": "1",
}
FOLLOW_UP = {"gemini_batch_root": "1", "gemini_batch_round": "1", "gemini_batch_after": "1"}


def job(state: str = "RUNNING", *, ended: timedelta | None = None, **changes: Any) -> BatchJob:
    content: dict[str, Any] = {
        "model": "publishers/google/models/gemini-2.5-flash",
        "labels": LABELS,
        "requests": ("bq://my-shop.books.requests_1",),
        "end_time": None if ended is None else datetime.now(UTC) - ended,
    }
    return BatchJob(
        VertexJobName("123", "us-central1", "42"), JobState(f"JOB_STATE_{state}"), **{**content, **changes}
    )


class Listed:
    """A client of a service that applies no filter."""

    def __init__(self, *jobs: BatchJob) -> None:
        self._jobs = jobs

    def list(self, query: JobQuery) -> Iterator[BatchJob]:
        assert query.labels == target_labels(TARGET)
        yield from self._jobs


def under_way(*jobs: BatchJob, landed: Callable[[], list[str]] = list, **plan: Any) -> RowsUnderWay:
    settings: dict[str, Any] = {
        "model": "publishers/google/models/gemini-2.5-flash",
        "family": GENERATE_CONTENT,
        "key": ("isbn",),
        "template": gemini_request(PromptTemplate.parse("Describe [[ title ]].")),
        "target": TARGET,
    }
    return RowsUnderWay(
        Listed(*jobs),  # type: ignore[arg-type] # the build only lists
        BuildPlan(**{**settings, **plan}),
        dag_id="nightly",
        run_id="second",
        storage_client=lambda: None,  # type: ignore[arg-type,return-value] # the target is a local file
        bigquery_client=lambda: pytest.fail("no table is read"),
        log=logging.getLogger(__name__),
        landed=landed,
    )


SHORTLY, LONG = TIME_TO_LAND / 2, TIME_TO_LAND * 2
OTHER_RUN = {**LABELS, "airflow_run": "another"}


@pytest.mark.parametrize(
    ("jobs", "tables"),
    [
        pytest.param([job("QUEUED")], ["requests_1"], id="queued"),
        pytest.param([job("PENDING")], ["requests_1"], id="pending"),
        pytest.param([job("CANCELLING")], ["requests_1"], id="being-cancelled"),
        pytest.param([job("SUCCEEDED", ended=SHORTLY)], ["requests_1"], id="about-to-be-landed"),
        pytest.param([job("PARTIALLY_SUCCEEDED", ended=SHORTLY)], ["requests_1"], id="partly-succeeded"),
        pytest.param([job("SUCCEEDED", ended=LONG)], [], id="never-landed"),
        pytest.param([job("SUCCEEDED")], [], id="ended-some-time"),
        pytest.param([job("FAILED", ended=SHORTLY)], [], id="failed"),
        pytest.param([job("CANCELLED", ended=SHORTLY)], [], id="cancelled"),
        pytest.param(
            [
                job("SUCCEEDED", ended=LONG),
                job("FAILED", ended=LONG, requests=("bq://my-shop.books.requests_2",)),
                job(requests=("bq://my-shop.books.requests_3",)),
            ],
            ["requests_1", "requests_2", "requests_3"],
            id="all-jobs-of-a-run",
        ),
        pytest.param(
            [
                job("SUCCEEDED", ended=LONG),
                job(labels={**LABELS, **FOLLOW_UP}, requests=("bq://my-shop.books.requests_1_rerun_2",)),
            ],
            ["requests_1"],
            id="follow-up",
        ),
        pytest.param(
            [job("SUCCEEDED", ended=LONG), job(labels=OTHER_RUN, requests=("bq://my-shop.books.b",))],
            ["b"],
            id="another-run",
        ),
        pytest.param([job(labels={**LABELS, "airflow_run": "second"})], [], id="own-run"),
        pytest.param(
            [job(labels={**LABELS, "airflow_dag": "b", "airflow_run": "second"})], ["requests_1"], id="dag"
        ),
        pytest.param([job(labels={**LABELS, **target_labels("other")})], [], id="another-target"),
        pytest.param([job(model="publishers/google/models/gemini-2.5-pro")], [], id="another-model"),
        pytest.param([job(requests=("bq://123.books.requests_1",))], ["requests_1"], id="project-by-number"),
        pytest.param([job(requests=("bq://elsewhere.books.requests_1",))], [], id="another-project"),
        pytest.param([job(requests=("bq://my-shop.other.requests_1",))], [], id="another-dataset"),
        pytest.param([job(requests=("gs://books/requests/1.jsonl", "nonsense"))], [], id="files"),
    ],
)
def test_tables_that_are_under_way(jobs: list[BatchJob], tables: list[str]) -> None:
    assert under_way(*jobs).tables(DATASET) == [DATASET.with_table(name) for name in tables]


def test_answers_that_have_landed_may_be_gone_again() -> None:
    ended = job("SUCCEEDED", ended=SHORTLY)
    assert under_way(ended, landed=lambda: [str(ended.name)]).tables(DATASET) == []
    assert under_way(ended, landed=lambda: ["projects/1/locations/l/batchPredictionJobs/7"]).tables(DATASET)


@pytest.mark.parametrize(
    "text",
    ["gs://somebody-else/requests/a.jsonl", "gs://books/elsewhere/a.jsonl", "gs://books/requests-2/a.jsonl"],
)
def test_files_of_others_are_not_read(text: str) -> None:
    assert list(under_way(job(requests=(text,))).rows(GcsAddress("books", "requests"))) == []
