"""The nightly example DAG, once, on the local stack."""

from __future__ import annotations

import csv
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.local.books import bigquery_client, load_books
from airflow_gemini_batch.local.stack import LocalStack
from airflow_gemini_batch.local.workspace import DATASET, Workspace

DAG_ID = "nightly_book_descriptions"

_LOOK_EVERY = 0.5
_LONGEST_ERROR = 2000


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came of a run.

    :param failed: books without a description, for whatever reason.
    :param state: of the DAG run: ``success`` or ``failed``.
    :param error: why the DAG run failed, as Airflow's log has it; empty when it did not.
    :param output: CSV file with one line for each book: its columns, ``description`` and ``failure``.
    """

    rows: int
    succeeded: int
    failed: int
    output: str
    seconds: float
    state: str
    error: str
    enriched: list[dict[str, Any]]
    failures: list[dict[str, Any]]

    def summary(self) -> dict[str, Any]:
        """Return the figures without the rows."""
        return {
            key: value for key, value in asdict(self).items() if key not in ("error", "enriched", "failures")
        }


Tell = Callable[[str], None]
"""Called with what is being done, each time that changes."""


def run_demo(
    workspace: Workspace, books: list[dict[str, Any]], *, fail_rate: float, tell: Tell
) -> DemoResult:
    """Start the stack, load the books, run the DAG through Airflow, and collect what it wrote.

    Raises :class:`~airflow_gemini_batch.exceptions.GeminiBatchError` when Airflow could not be set up.
    """
    started = time.monotonic()
    workspace.create()
    tell("starting Cloud Storage, BigQuery and Vertex AI on 127.0.0.1")
    with workspace.stack(queue_seconds=2.0, run_seconds=4.0, fail_rate=fail_rate) as stack:
        tell(f"loading {len(books)} books")
        load_books(stack, DATASET, books)
        environment = workspace.environment(stack)
        tell("setting up Airflow's database")
        migration = workspace.airflow("db", "migrate", environment=environment)
        if migration.wait() != 0:
            raise GeminiBatchError(f"Airflow's database could not be set up; see {workspace.log}")
        state = _run_dag(workspace, environment, tell)
        described, failures = _results(stack)
    enriched = [
        {**book, "description": described.get(book["book_id"]), "failure": failures.get(book["book_id"])}
        for book in books
    ]
    output = workspace.folder / "enriched_books.csv"
    _write_csv(output, enriched)
    return DemoResult(
        rows=len(books),
        succeeded=len(described),
        failed=len(books) - len(described),
        output=str(output),
        seconds=round(time.monotonic() - started, 1),
        state=state,
        error="" if state == "success" else _last_error(workspace.log),
        enriched=[book for book in enriched if book["description"]],
        failures=[book for book in enriched if book["failure"]],
    )


def _run_dag(workspace: Workspace, environment: dict[str, str], tell: Tell) -> str:
    """Run the DAG to its end and return its state."""
    run = workspace.airflow("dags", "test", DAG_ID, environment=environment)
    try:
        while run.poll() is None:
            states = _task_states(workspace)
            if "up_for_retry" in states.values():
                return "failed"  # nothing here gets better by waiting for the retry
            tell(f"running {DAG_ID}: {_progress(states)}")
            time.sleep(_LOOK_EVERY)
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    return "success" if run.returncode == 0 else "failed"


def _last_error(log: Path) -> str:
    """Return the last exception of a log: its message, up to the next entry."""
    errors = re.findall(
        r"^[\w.]*(?:Error|Exception|Timeout): .*?(?=^\[?\d{4}-\d\d-\d\d|\Z)",
        log.read_text(errors="replace"),
        re.MULTILINE | re.DOTALL,
    )
    return str(errors[-1]).strip()[:_LONGEST_ERROR] if errors else ""


def _task_states(workspace: Workspace) -> dict[str, str | None]:
    """Return the state of each task, as Airflow's database has it; empty while there is nothing to read."""
    database = f"file:{workspace.airflow_home / 'airflow.db'}?mode=ro"
    try:
        with closing(sqlite3.connect(database, uri=True)) as connection:
            query = "SELECT task_id, state FROM task_instance WHERE dag_id = ?"
            return dict(connection.execute(query, (DAG_ID,)).fetchall())
    except sqlite3.Error:  # being set up, or locked for a moment
        return {}


def _progress(states: dict[str, str | None]) -> str:
    done = sum(state == "success" for state in states.values())
    at_work = [task_id for task_id, state in states.items() if state in ("running", "deferred")]
    return f"{done} of {len(states)} tasks done" + (f", {', '.join(at_work)} at work" if at_work else "")


def _results(stack: LocalStack) -> tuple[dict[str, str], dict[str, str]]:
    """Return the descriptions and the reasons of failures, each by book."""
    from google.api_core.exceptions import NotFound

    client = bigquery_client(stack)
    found: list[dict[str, str]] = []
    for table, column in (("book_descriptions", "description"), ("book_descriptions__failed", "message")):
        try:
            rows = list(client.list_rows(client.get_table(f"{DATASET}.{table}"), page_size=1000))
        except NotFound:  # the DAG failed before it made the table
            rows = []
        found.append({row["book_id"]: row[column] for row in rows})
    return found[0], found[1]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
