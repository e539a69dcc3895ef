"""The steps of a pipeline, one after the other, as tasks of one run."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import (
    BuildGeminiRequestsOperator,
    GeminiEnrichmentTaskGroup,
    LandGeminiResultsOperator,
    SubmitGeminiBatchOperator,
)
from airflow_gemini_batch.testing.stack import LocalStack
from tests.support.tasks import TaskInstance, run_task

BOOKS = {"isbn": "STRING", "title": "STRING"}
MODEL = "gemini-3.8-flash"
PROMPT = "Describe [[ title ]]."


def book(number: int, **changes: Any) -> dict[str, Any]:
    return {"isbn": f"978-{number}", "title": f"Title {number}", **changes}


def group_dag(**arguments: Any) -> Any:
    """Return a DAG with the task group ``books``."""
    with DAG("nightly", schedule=None) as dag:
        GeminiEnrichmentTaskGroup(
            group_id="books",
            source="bq://shop.books.books",
            key="isbn",
            prompt=PROMPT,
            model=MODEL,
            target="bq://shop.books.described",
            **arguments,
        )
    return dag


def built(source: Any, ti: TaskInstance | None = None, **arguments: Any) -> list[str]:
    """Run a build task and return where the requests are."""
    settings = {"task_id": "build", "key": "isbn", "prompt": PROMPT, "model": MODEL, **arguments}
    requests: list[str] = run_task(BuildGeminiRequestsOperator(source=source, **settings), ti)
    return requests


def reported(source: Any, **arguments: Any) -> dict[str, Any]:
    """Run a build task and return its report."""
    ti = TaskInstance(task_id="build")
    built(source, ti, **arguments)
    report: dict[str, Any] = ti.xcoms["report"]
    return report


def submitted(sources: list[str], run_id: str = "first", **arguments: Any) -> list[dict[str, Any]]:
    """Run the mapped submit task and return its manifests."""
    settings = {"task_id": "submit", "model": MODEL, "poll_interval": 0.05, **arguments}
    return [
        run_task(
            SubmitGeminiBatchOperator(requests=source, **settings),
            TaskInstance(task_id="submit", run_id=run_id, map_index=index),
        )
        for index, source in enumerate(sources)
    ]


def landed(manifest: Any, target: str, **arguments: Any) -> dict[str, Any]:
    """Run a land task and return its report."""
    settings = {"task_id": "land", "key": "isbn", **arguments}
    report: dict[str, Any] = run_task(LandGeminiResultsOperator(manifest=manifest, target=target, **settings))
    return report


def creates(stack: LocalStack) -> int:
    """Return how often a job was asked for so far."""
    return stack.vertex.requests.counts.get("create", 0)
