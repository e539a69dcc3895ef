"""What tasks have read, written and spent, as Airflow's provider of OpenLineage gets and writes it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud.bigquery import QueryJob, TableReference

from airflow_gemini_batch import (
    BuildEmbeddingRequestsOperator,
    BuildGeminiRequestsOperator,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.operators.lineage import MOST_DATASETS, Lineage, dataset_name, submit_lineage
from tests.operators.steps import BOOKS, MODEL, PROMPT, book
from tests.support.tables import fill, make_dataset
from tests.support.tasks import run_task

DATASET = "bq://my-shop.books"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("bq://my-shop.books.all", ("bigquery", "my-shop.books.all")),
        ("gs://shop/in/books.csv", ("gs://shop", "in/books.csv")),
        ("gs://shop/out/prediction-1/", ("gs://shop", "out/prediction-1")),
        ("gs://shop/in/2026-*/books_*.csv", ("gs://shop", "in")),
        ("gs://shop/*.csv", ("gs://shop", "/")),
        ("/data/books.csv", ("file", "/data/books.csv")),
    ],
)
def test_datasets_have_the_names_of_the_google_provider(place, name):
    assert dataset_name(place) == name


def test_each_round_is_an_output_with_its_rows():
    rounds = [
        Round(
            "jobs/1",
            "JOB_STATE_SUCCEEDED",
            [f"{DATASET}.requests"],
            f"{DATASET}.out_1",
            {"ok": 8, "retryable": 2},
        ),
        Round("jobs/2", "JOB_STATE_FAILED", [f"{DATASET}.rerun"], "", {"missing": 2}),
        Round("jobs/3", "JOB_STATE_SUCCEEDED", [f"{DATASET}.rerun"], f"{DATASET}.out_3", {"ok": 2}),
    ]
    manifest = Manifest("i", f"publishers/google/models/{MODEL}", "", {"ok": 10, "retryable": 0}, rounds)
    assert submit_lineage(manifest, GENERATE_CONTENT) == Lineage(
        inputs=[f"{DATASET}.requests"],
        outputs={f"{DATASET}.out_1": 10, f"{DATASET}.out_3": 2},
        columns={"response": ["request"]},
        job={"models": [MODEL]},
        run={
            "rows": {"ok": 10},
            "tokens": {"prompt_tokens": 0, "output_tokens": 0, "thoughts_tokens": 0},
            "cost_usd": None,
            "jobs": ["jobs/1", "jobs/2", "jobs/3"],
        },
    )


class Events:
    """The events of tasks, written by the file transport of OpenLineage."""

    def __init__(self, file: Any) -> None:
        from airflow.providers.openlineage.extractors.manager import ExtractorManager
        from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
        from openlineage.client import OpenLineageClient
        from openlineage.client.transport.file import FileConfig, FileTransport

        self._file = file
        self._manager = ExtractorManager()
        transport = FileTransport(FileConfig(str(file), append=True))
        self._adapter = OpenLineageAdapter(OpenLineageClient(transport=transport))

    def of(self, task: Any) -> dict[str, Any]:
        """Return the event that a task's end makes."""
        from airflow.utils.state import TaskInstanceState

        run = SimpleNamespace(run_id="first")
        lineage = self._manager.extract_metadata(run, task, TaskInstanceState.SUCCESS, None)
        self._adapter.complete_task(
            run_id="01941f29-7c00-7087-8906-40e512c257bd",
            job_name=task.task_id,
            end_time="2026-11-22T08:00:00+00:00",
            task=lineage,
            nominal_start_time=None,
            nominal_end_time=None,
            owners=None,
            tags=None,
            job_description=None,
        )
        event: dict[str, Any] = json.loads(self._file.read_text().splitlines()[-1])
        return event


@pytest.fixture
def events(tmp_path):
    pytest.importorskip(
        "airflow.providers.openlineage", reason="the provider of OpenLineage is not installed"
    )
    return Events(tmp_path / "events.jsonl")


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["namespace"], one["name"]) for one in datasets]


def rows(dataset: dict[str, Any]) -> int:
    count: int = dataset["outputFacets"]["outputStatistics"]["rowCount"]
    return count


def columns(dataset: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    fields = dataset["facets"]["columnLineage"]["fields"]
    return {
        column: [(one["name"], one["field"]) for one in made["inputFields"]]
        for column, made in fields.items()
    }


def facet(facets: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facets["geminiBatch"].items() if not name.startswith("_")}


def test_from_the_columns_of_the_prompt_to_those_of_the_answer(gemini_batch_stack, events):
    dataset = make_dataset(gemini_batch_stack)
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(number) for number in range(4)])
    source, target = (name.removeprefix("bq://") for name in (books, f"{dataset}.described"))

    build = BuildGeminiRequestsOperator(
        task_id="build", source=books, key="isbn", prompt=PROMPT, model=MODEL, target=f"bq://{target}"
    )
    (requests,) = run_task(build)
    built = events.of(build)
    (asked,) = built["outputs"]
    assert names(built["inputs"]) == [("bigquery", source)]
    assert names([asked]) == [("bigquery", requests.removeprefix("bq://"))]
    assert rows(asked) == 4
    assert columns(asked) == {"isbn": [(source, "isbn")], "request": [(source, "title")]}
    assert facet(built["job"]["facets"]) == {"models": [MODEL], "key": ["isbn"], "question": PROMPT}
    assert facet(built["run"]["facets"])["rows"] == {
        "read": 4,
        "asked": 4,
        "done": 0,
        "failed_before": 0,
        "dropped": 0,
    }

    submit = SubmitGeminiBatchOperator(task_id="submit", requests=requests, model=MODEL, poll_interval=0.05)
    manifest = run_task(submit)
    sent = events.of(submit)
    (came,) = sent["outputs"]
    assert names(sent["inputs"]) == names([asked])
    assert rows(came) == 4
    assert columns(came) == {"response": [(asked["name"], "request")]}
    spent = facet(sent["run"]["facets"])
    assert spent["jobs"] == [one["job_name"] for one in manifest["rounds"]]
    assert (spent["rows"], spent["cost_usd"]) == (
        {"ok": 4},
        pytest.approx(manifest["cost"]["amount"], abs=1e-6),
    )
    assert spent["tokens"]["prompt_tokens"] > 0

    land = LandGeminiResultsOperator(
        task_id="land",
        manifest=manifest,
        key="isbn",
        target=f"bq://{target}",
        response_schema={"description": str},
        max_failed_fraction=1.0,
    )
    report = run_task(land)
    landed = events.of(land)
    assert names(landed["inputs"]) == names([came])
    assert ("bigquery", target) in names(landed["outputs"])
    assert sum(map(rows, landed["outputs"])) == report["landed"] + report["failed"] == 4
    assert columns(landed["outputs"][0]) == {
        "isbn": [(came["name"], "isbn")],
        "description": [(came["name"], "response")],
    }
    assert facet(landed["run"]["facets"])["tokens"] == spent["tokens"]


def test_tables_of_a_query_are_inputs_and_files_the_outputs_of_an_export(
    gemini_batch_stack, bucket, events, monkeypatch
):
    dataset = make_dataset(gemini_batch_stack)
    books = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, [book(1)]).removeprefix("bq://")
    query = f"SELECT * FROM `{books}`"
    build = BuildEmbeddingRequestsOperator(
        task_id="build",
        source=query,
        key="isbn",
        text="title",
        model="gemini-embedding-001",
        requests=f"gs://{bucket}/requests",
    )
    (requests,) = run_task(build)
    # The local BigQuery does not tell which tables a query names.
    monkeypatch.setattr(QueryJob, "referenced_tables", [TableReference.from_string(books)])
    event = events.of(build)
    assert names(event["inputs"]) == [("bigquery", books)]
    assert event["job"]["facets"]["sql"]["query"] == query
    (written,) = event["outputs"]
    assert names([written]) == [(f"gs://{bucket}", requests.removeprefix(f"gs://{bucket}/"))]
    assert columns(written) == {"key": [(books, "isbn")], "request": [(books, "title")]}


def test_event_names_a_hundred_datasets_at_most(events):
    many = {f"{DATASET}.requests_{number}": None for number in range(MOST_DATASETS + 1)}
    lineage = Lineage(inputs=list(many), outputs=many, columns={"a": ["b"]}).facets()
    assert (len(lineage.inputs), len(lineage.outputs)) == (MOST_DATASETS, MOST_DATASETS)


def test_task_that_has_done_nothing_has_no_lineage():
    task = SubmitGeminiBatchOperator(task_id="submit", requests=f"{DATASET}.requests", model=MODEL)
    assert task.get_openlineage_facets_on_complete(None) is None
