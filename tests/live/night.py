"""A pipeline over three rows, with the package's own operators; each of its statements is a dry run first.

BigQuery's dry runs are free, so what it thinks of the package's SQL costs nothing to know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest import mock

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.costs.estimate import Estimate, OutputLimits, estimate
from airflow_gemini_batch.costs.prices import PriceTable
from tests.live.place import Place

log = logging.getLogger("tests.live")

ROWS = (
    {"book_id": "000000", "title": "A first title", "edition": 1},
    {"book_id": "1e5", "title": None, "edition": 2},
    {"book_id": "978-3", "title": 'A "third" title', "edition": None},
)
MOST_TOKENS = 512
SCHEMA = {"colour": str, "letters": int, "words": list[str]}


@dataclass(slots=True)
class Night:
    """What came of the pipeline.

    :param dry_runs: the statements and what a dry run of each said; empty where BigQuery took it.
    :param report: what the land task reported; None when the pipeline did not reach its end.
    :param error: why it did not.
    """

    dry_runs: list[tuple[str, str]] = field(default_factory=list)
    report: dict[str, Any] | None = None
    error: str = ""


def expected(place: Place) -> Estimate:
    """Return what the pipeline costs at most."""
    return estimate(
        place.settings.model,
        PriceTable.load(location=place.settings.location),
        on=datetime.now(UTC).date(),
        rows=len(ROWS),
        prompt_characters=len(ROWS) * 1000,  # the response schema among them
        limits=OutputLimits(MOST_TOKENS),
    )


def play(place: Place) -> Night:
    """Build, submit, land, and land again; waits for the job."""
    night = Night()
    with _dry_runs_first(night):
        try:
            night.report = _pipeline(place)
        except Exception as error:
            log.warning("The pipeline failed: %s", error)
            night.error = f"{type(error).__name__}: {error}"
    return night


def _pipeline(place: Place) -> dict[str, Any]:
    from airflow_gemini_batch import (
        BuildGeminiRequestsOperator,
        LandGeminiResultsOperator,
        SubmitGeminiBatchOperator,
    )
    from tests.support.tasks import TaskInstance, run_task

    settings = place.settings
    books, target = place.table("books"), place.table("described")
    _fill(place, books)
    here: dict[str, Any] = {"project_id": settings.project, "location": settings.location}
    model = {"model": settings.model}

    def run(operator: Callable[..., Any], task_id: str, **arguments: Any) -> Any:
        ti = TaskInstance(dag_id="live_suite", task_id=task_id, run_id=place.run)
        return run_task(operator(task_id=task_id, **here, **arguments), ti)

    requests = run(
        BuildGeminiRequestsOperator,
        "build",
        source=f"SELECT * FROM {books.sql} WHERE edition IS NULL OR edition < @most",
        source_parameters={"most": 100},
        key=["book_id"],
        prompt="Name a colour that [[ title | an untitled book ]] ([[ edition ]]) makes you think of.",
        response_schema=SCHEMA,
        generation_config={"maxOutputTokens": MOST_TOKENS},
        requests=f"bq://{settings.project}.{settings.dataset}",
        target=str(target),
        max_cost_usd=settings.max_usd,
        **model,
    )
    place.is_to_be_dropped(*map(BigQueryAddress.parse, requests))
    manifest = run(
        SubmitGeminiBatchOperator,
        "submit",
        requests=requests[0],
        target=str(target),
        max_failed_fraction=1.0,
        max_row_retries=0,
        deferrable=False,
        poll_interval=settings.poll,
        queue_timeout=settings.wait,
        labels={"live_suite": place.run},
        **model,
    )
    place.is_to_be_dropped(*map(BigQueryAddress.parse, manifest["outputs"]))
    report: dict[str, Any] = {}
    for _ in range(2):  # the first one makes the target, the second one merges into it
        report = run(
            LandGeminiResultsOperator,
            "land",
            manifest=manifest,
            key=["book_id"],
            target=str(target),
            response_schema=SCHEMA,
            max_failed_fraction=1.0,
        )
    return report


def _fill(place: Place, table: BigQueryAddress) -> None:
    from google.cloud.bigquery import LoadJobConfig, SchemaField

    columns = {"book_id": "STRING", "title": "STRING", "edition": "INT64"}
    config = LoadJobConfig(schema=[SchemaField(name, kind) for name, kind in columns.items()])
    place.bigquery.load_table_from_json(list(ROWS), table.dotted, job_config=config).result()


@contextmanager
def _dry_runs_first(night: Night) -> Iterator[None]:
    from google.cloud.bigquery import Client

    really_query = Client.query

    def try_out(client: Any, statement: str, config: Any, location: Any) -> None:
        from google.cloud.bigquery import QueryJobConfig

        dry = deepcopy(config) if config is not None else QueryJobConfig()
        if dry.dry_run:
            return
        dry.dry_run, dry.use_query_cache = True, False
        said = ""
        try:
            really_query(client, statement, dry, location=location)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        night.dry_runs.append((statement, said))

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(client: Any, statement: str, job_config: Any = None, **arguments: Any) -> Any:
            try_out(client, statement, job_config, arguments.get("location"))
            return method(client, statement, job_config=job_config, **arguments)

        return call

    with (
        mock.patch.object(Client, "query", wrapped(Client.query)),
        mock.patch.object(Client, "query_and_wait", wrapped(Client.query_and_wait)),
    ):
        yield
