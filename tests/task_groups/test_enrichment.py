"""GeminiEnrichmentTaskGroup in DAG runs, from table to table and from files to files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task, task_group
from pydantic import BaseModel

from airflow_gemini_batch import GeminiEnrichmentTaskGroup
from airflow_gemini_batch.testing.dag_runs import DagRun, run_dag
from airflow_gemini_batch.version_compat import WHEN_ONE_HAS_SUCCEEDED
from tests.operators.steps import BOOKS, MODEL, PROMPT, book, creates
from tests.support.dag_runs import asset_events, know_alias, serialized
from tests.support.requests_data import lines, storage_client
from tests.support.tables import fill, make_dataset, read

SKIPPED = {
    "preflight": ["success"],
    "build_requests": ["success"],
    "submit": ["skipped"],
    "land_results": ["skipped"],
}
# What failed before is told there; a second red task would send people to another log first.
NOT_LANDED = ["failed"] if WHEN_ONE_HAS_SUCCEEDED == "all_done" else ["upstream_failed"]


class Described(BaseModel):
    """A schema in a DAG file."""

    description: str
    genres: list[str]


@pytest.fixture
def dataset(gemini_batch_stack):
    return make_dataset(gemini_batch_stack)


@pytest.fixture
def faults(gemini_batch_stack) -> Iterator[Any]:
    yield gemini_batch_stack.vertex.faults
    gemini_batch_stack.vertex.faults.clear()


def enrich(**arguments: Any) -> GeminiEnrichmentTaskGroup:
    defaults = {"key": "isbn", "prompt": PROMPT, "model": MODEL, "submit_options": {"poll_interval": 0.05}}
    return GeminiEnrichmentTaskGroup(**{**defaults, **arguments})


def run(**arguments: Any) -> DagRun:
    """Run a DAG of one group; its tasks go by their names in the group."""
    with DAG("enrichment", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        enrich(**arguments)
    return run_dag(dag, group="enrich")


def upload_csv(stack: Any, bucket: str, rows: list[dict[str, Any]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, fieldnames=list(BOOKS))
    writer.writeheader()
    writer.writerows(rows)
    storage_client(stack).bucket(bucket).blob("books.csv").upload_from_string(file.getvalue())
    return f"gs://{bucket}/books.csv"


def parquet_rows(stack: Any, address: str) -> list[dict[str, Any]]:
    from pyarrow import parquet

    bucket, _, name = address.removeprefix("gs://").partition("/")
    data = storage_client(stack).bucket(bucket).blob(name).download_as_bytes()
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


def test_table_goes_through_several_jobs_into_one_table(gemini_batch_stack, dataset):
    rows = [book(number) for number in range(41)]
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
    arguments: dict[str, Any] = {
        "source": books,
        "target": f"{dataset}.landed",
        "response_schema": Described,
        "shard_rows": 40,
    }
    know_alias(arguments["target"])
    first = run(**arguments)
    assert first.state == "success"
    assert first.states["submit"] == ["success"] * 2
    (report,) = first.results["land_results"]
    assert (report["landed"], report["failed"]) == (41, 0)
    landed = {row["isbn"]: row for row in read(gemini_batch_stack, f"{dataset}.landed")}
    assert landed.keys() == {one["isbn"] for one in rows}
    assert all(one["title"] in landed[one["isbn"]]["description"] for one in rows)
    assert all(isinstance(row["genres"], list) for row in landed.values())

    before = creates(gemini_batch_stack)
    second = run(**arguments)
    assert (second.state, second.states) == ("success", SKIPPED)
    assert creates(gemini_batch_stack) == before

    fill(gemini_batch_stack, books, BOOKS, [book(41)])
    third = run(**arguments)
    assert third.states["submit"] == ["success"]
    assert third.results["land_results"][0]["landed"] == 1
    assert len(read(gemini_batch_stack, f"{dataset}.landed")) == 42

    # Each landing is an event of the target's asset; a skipped one is none.
    events = asset_events(f"bigquery://{dataset.removeprefix('bq://').replace('.', '/')}/landed")
    assert [(event["rows"], event["rows_ok"], len(event["jobs"].split(","))) for event in events] == [
        (41, 41, 2),
        (1, 1, 1),
    ]


def test_files_go_into_a_file_though_jobs_leave_rows_unanswered(gemini_batch_stack, bucket, faults):
    faults.plan("partly_succeed", share=0.5)
    faults.plan("repeat_rows", share=0.5)
    rows = [book(number, title=f'Title "{number}", {{x}} 红楼梦') for number in range(10)]
    source, target = upload_csv(gemini_batch_stack, bucket, rows), f"gs://{bucket}/out/books.parquet"
    arguments: dict[str, Any] = {
        "source": source,
        "target": target,
        "response_schema": Described,
        "shard_rows": 6,
        "requests": f"gs://{bucket}/requests",
    }
    ended = run(**arguments)
    assert ended.state == "success"
    assert len(ended.results["submit"]) == 2
    assert sorted(len(manifest["rounds"]) for manifest in ended.results["submit"]) == [1, 2]
    (report,) = ended.results["land_results"]
    assert (report["landed"], report["failed"]) == (10, 0)
    landed = {row["isbn"]: row for row in parquet_rows(gemini_batch_stack, target)}
    assert landed.keys() == {one["isbn"] for one in rows}
    assert all(one["title"] in landed[one["isbn"]]["description"] for one in rows)
    assert len(parquet_rows(gemini_batch_stack, target)) == 10
    assert run(**arguments).states == SKIPPED


def test_table_lands_once_though_its_job_left_rows_unanswered(gemini_batch_stack, dataset, faults):
    faults.plan("missing_rows", share=0.5)
    rows = [book(number) for number in range(10)]
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
    ended = run(source=books, target=f"{dataset}.landed")
    (manifest,) = ended.results["submit"]
    assert len(manifest["rounds"]) == 2
    landed = read(gemini_batch_stack, f"{dataset}.landed")
    assert sorted(row["isbn"] for row in landed) == sorted(one["isbn"] for one in rows)


def test_too_many_failures_fail_the_run_once_the_answers_have_landed(gemini_batch_stack, dataset, faults):
    faults.plan("missing_rows", share=0.5)
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(number) for number in range(10)])
    ended = run(source=books, target=f"{dataset}.landed", max_row_retries=0)
    assert ended.state == "failed"
    assert (ended.states["submit"], ended.states["land_results"]) == (["success"], ["failed"])
    landed = len(read(gemini_batch_stack, f"{dataset}.landed"))
    failed = len(read(gemini_batch_stack, f"{dataset}.landed__failed"))
    assert 0 < landed < 10
    assert landed + failed == 10


def test_answers_of_the_other_jobs_land_when_one_has_failed(gemini_batch_stack, dataset, faults):
    faults.plan("fail")
    rows = [book(number) for number in range(41)]
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, rows)
    arguments: dict[str, Any] = {"source": books, "target": f"{dataset}.landed", "shard_rows": 40}
    first = run(**arguments)
    assert first.state == "failed"
    assert sorted(first.states["submit"]) == ["failed", "success"]
    assert first.states["land_results"] == ["failed"]
    landed = {row["isbn"] for row in read(gemini_batch_stack, f"{dataset}.landed")}
    assert 0 < len(landed) < 41
    assert len(landed) == sum(one["counts"]["ok"] for one in first.results["submit"] if one)

    second = run(**arguments)
    assert second.state == "success"
    assert second.results["land_results"][0]["landed"] == 41 - len(landed)
    assert {row["isbn"] for row in read(gemini_batch_stack, f"{dataset}.landed")} == {
        one["isbn"] for one in rows
    }


def test_nothing_lands_when_every_job_has_failed(gemini_batch_stack, dataset, faults):
    faults.plan("fail")
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(1)])
    ended = run(source=books, target=f"{dataset}.landed")
    assert (ended.state, ended.states["submit"], ended.states["land_results"]) == (
        "failed",
        ["failed"],
        NOT_LANDED,
    )


@pytest.mark.parametrize(
    ("arguments", "failed"),
    [
        pytest.param({"max_cost_usd": 0.0001}, "build_requests", id="cost"),
        pytest.param({"prompt": "[[ titel ]]"}, "preflight", id="preflight"),
        pytest.param({"prompt": "[[ titel ]]", "preflight": False}, "build_requests", id="no preflight"),
    ],
)
def test_what_is_wrong_before_submitting_costs_nothing(gemini_batch_stack, dataset, arguments, failed):
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(number) for number in range(10)])
    before = creates(gemini_batch_stack)
    ended = run(source=books, target=f"{dataset}.landed", **arguments)
    assert ended.state == "failed"
    assert ended.states[failed] == ["failed"]
    assert ended.states["submit"] == ["upstream_failed"]
    assert ended.states["land_results"] == NOT_LANDED
    assert creates(gemini_batch_stack) == before


def test_without_incremental_every_run_asks_about_all_rows(gemini_batch_stack, bucket):
    arguments: dict[str, Any] = {
        "source": lambda: (book(number) for number in range(3)),
        "target": f"gs://{bucket}/landed.jsonl",
        "requests": f"gs://{bucket}/requests",
        "incremental": False,
        "bookkeeping": False,
    }
    for _ in range(2):
        ended = run(**arguments)
        assert ended.results["submit"][0]["counts"]["ok"] == 3
    rows = lines(gemini_batch_stack, f"gs://{bucket}/landed.jsonl")
    assert [row.keys() for row in rows] == [{"isbn", "answer"}] * 3


def test_rows_can_come_from_a_task_before(gemini_batch_stack, bucket):
    with DAG("rows_from_a_task", start_date=datetime(2026, 1, 1), schedule=None) as dag:

        @task
        def books() -> list[dict[str, Any]]:
            return [book(1, title="{{ ds }}"), book(2)]

        group = enrich(source=books(), target=f"gs://{bucket}/landed.jsonl")

        @task
        def tell(report: dict[str, Any]) -> int:
            landed: int = report["landed"]
            return landed

        tell(group.output)
    ended = run_dag(dag)
    assert ended.states["enrich.preflight"] == ["success"]
    assert ended.results["tell"] == [2]
    rows = {row["isbn"]: row for row in lines(gemini_batch_stack, f"gs://{bucket}/landed.jsonl")}
    assert "{{ ds }}" in rows["978-1"]["answer"]


def test_templates_are_rendered_in_every_task(gemini_batch_stack, dataset):
    fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(1)])
    with DAG("templates", start_date=datetime(2026, 1, 1), schedule=None, params={"dataset": dataset}) as dag:
        enrich(
            source="{{ params.dataset }}.books",
            target="{{ params.dataset }}.landed",
            failed_target="{{ params.dataset }}.dead",
            prompt="On {{ ds_nodash[:2] }}: [[ title ]]",
        )
    ended = run_dag(dag, group="enrich")
    assert ended.results["land_results"][0]["failed_target"] == f"{dataset}.dead"
    (row,) = read(gemini_batch_stack, f"{dataset}.landed")
    assert "On 20: Title 1" in row["answer"]


def tasks(**arguments: Any) -> dict[str, Any]:
    with DAG("enrichment", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        enrich(**{"source": "bq://project-1.d.books", "target": "bq://project-1.d.landed", **arguments})
    return {one.task_id: one for one in dag.tasks}


def test_tasks_have_readable_names_and_one_order():
    found = tasks(group_id="describe")
    assert {name: one.downstream_task_ids for name, one in found.items()} == {
        "describe.preflight": {"describe.build_requests"},
        "describe.build_requests": {"describe.submit"},
        "describe.submit": {"describe.land_results"},
        "describe.land_results": set(),
    }
    assert "enrich.preflight" not in tasks(preflight=False)


def test_tasks_share_what_belongs_to_all():
    connection = {
        "project_id": "project-2",
        "location": "europe-west4",
        "gcp_conn_id": "mine",
        "impersonation_chain": "robot@project-2.iam.gserviceaccount.com",
    }
    for one in tasks(**connection).values():
        found = getattr(one, "partial_kwargs", None) or vars(one)
        assert {name: found[name] for name in connection} == connection


@pytest.mark.parametrize("source", ["bq://project-1.d.books", [book(1)], lambda: [book(1)], iter([book(1)])])
def test_group_is_stored_alike_each_time_its_file_is_read(source):
    with DAG("enrichment", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        enrich(source=source, target="gs://shop/landed.parquet", response_schema=Described)
    stored = json.dumps(serialized(dag))
    # An object's address would make another version of the DAG of each reading.
    assert " at 0x" not in stored
    assert "Described" not in stored


def test_submit_options_have_the_last_word():
    submit = tasks(submit_options={"deferrable": False, "max_failed_fraction": 0.1, "retries": 5})[
        "enrich.submit"
    ]
    assert submit.partial_kwargs["max_failed_fraction"] == 0.1
    assert submit.partial_kwargs["deferrable"] is False
    assert submit.retries == 5


def test_group_in_a_mapped_group_is_refused_with_what_works() -> None:
    with DAG("mapped", start_date=datetime(2026, 1, 1), schedule=None):

        @task_group
        def each(year: int) -> None:
            enrich(source="bq://p.d.books", target="bq://p.d.landed")

        with pytest.raises(
            ValueError, match=r"it can't be inside a mapped task group.*Make one group for each item"
        ):
            each.expand(year=[2025, 2026])


def test_incremental_without_bookkeeping_is_refused_when_the_dag_is_read():
    with pytest.raises(ValueError, match="task group 'enrich': incremental runs need bookkeeping=True"):
        tasks(bookkeeping=False)
