"""Run an example DAG once on the local servers."""

from __future__ import annotations

import csv
import io
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_gemini_batch.demo.books import load_books
from airflow_gemini_batch.demo.examples import Example, ExampleResults
from airflow_gemini_batch.demo.workspace import DATASET, Workspace
from airflow_gemini_batch.disk.whole_file import WholeFile
from airflow_gemini_batch.testing.stack import LocalStack
from airflow_gemini_batch.testing.tables import bigquery_client

_LOOK_EVERY = 0.5
_LONGEST_ERROR = 2000


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Row counts and result locations of a demo run.

    :param failed: books without an answer, for whatever reason.
    :param state: of the DAG run: ``success`` or ``failed``.
    :param error: why the DAG run failed, as Airflow's log has it; empty when it did not.
    :param output: CSV file with one line for each book: its columns, the example's, and ``failure``.
    :param nearest: of the embeddings example, the books nearest to its phrase, nearest first: ``phrase``, ``book_id``,
        ``title``, ``distance`` (of the cosine, 0 to 2).
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
    nearest: list[dict[str, Any]]

    def summary(self) -> dict[str, Any]:
        """Return the figures without the rows."""
        left_out = {"error", "enriched", "failures", *(() if self.nearest else ("nearest",))}
        return {key: value for key, value in asdict(self).items() if key not in left_out}


Report = Callable[[str], None]
"""Called with the step that runs now, each time it changes."""


def run_demo(
    workspace: Workspace, books: list[dict[str, Any]], example: Example, *, fail_rate: float, report: Report
) -> DemoResult:
    """Start the stack, load the books, run the DAG through Airflow, and collect what it wrote."""
    started = time.monotonic()
    workspace.create()
    report("Starting Cloud Storage, BigQuery and Vertex AI on 127.0.0.1")
    with workspace.stack(queue_seconds=2.0, run_seconds=4.0, fail_rate=fail_rate) as stack:
        report(f"Loading {len(books)} books")
        load_books(stack, DATASET, books)
        environment = workspace.environment(stack)
        written = example.results
        state, killed = _run_dag(written.dag_id, workspace, environment, report)
        answers, failures = _results(stack, written)
        nearest = [dict(row.items()) for row in _rows(stack, "nearest_books")]
    nothing = dict.fromkeys(written.columns)
    enriched = [
        {**book, **answers.get(book["book_id"], nothing), "failure": failures.get(book["book_id"])}
        for book in books
    ]
    output = workspace.folder / "enriched_books.csv"
    _write_csv(output, enriched)
    return DemoResult(
        rows=len(books),
        succeeded=len(answers),
        failed=len(books) - len(answers),
        output=str(output),
        seconds=round(time.monotonic() - started, 1),
        state=state,
        error="" if state == "success" else killed or _first_error(workspace.log),
        enriched=[book for book in enriched if book["book_id"] in answers],
        failures=[book for book in enriched if book["failure"]],
        nearest=sorted(nearest, key=lambda row: row["distance"]),
    )


def _run_dag(
    dag_id: str, workspace: Workspace, environment: dict[str, str], report: Report
) -> tuple[str, str]:
    """Run the DAG to its end and return its state, and what killed it, empty for nothing."""
    run = workspace.run_dag(dag_id, environment)
    try:
        while run.poll() is None:
            states = _task_states(dag_id, workspace)
            if "up_for_retry" in states.values():
                return "failed", ""  # a retry cannot succeed here
            report(f"Running {dag_id}: {_progress(states)}" if states else "Starting Airflow")
            time.sleep(_LOOK_EVERY)
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    return "success" if run.returncode == 0 else "failed", what_killed(run.returncode)


def what_killed(returncode: int) -> str:
    """Say which signal ended a process; empty for one that ended by itself.

    :param returncode: as :class:`subprocess.Popen` has it.
    """
    if returncode >= 0:
        return ""
    name = signal.Signals(-returncode).name
    if returncode == -signal.SIGKILL:
        return (
            f"Airflow was killed ({name}), which is what Linux does when memory runs out: see dmesg. Take fewer rows, "
            "or a machine with more memory"
        )
    return f"Airflow was ended by the signal {name}"


def _first_error(log: Path) -> str:
    """Return the message of the first exception in a log, since it causes the others; empty if there is none."""
    errors = re.findall(
        r"^[\w.]*(?:Error|Exception|Timeout): .*?(?=^\[?\d{4}-\d\d-\d\d|\Z)",
        log.read_text(errors="replace"),
        re.MULTILINE | re.DOTALL,
    )
    return str(errors[0]).strip()[:_LONGEST_ERROR] if errors else ""


def _task_states(dag_id: str, workspace: Workspace) -> dict[str, str | None]:
    """Return the state of each task, from Airflow's database; empty until it can be read."""
    database = f"file:{workspace.airflow_home / 'airflow.db'}?mode=ro"
    try:
        with closing(sqlite3.connect(database, uri=True)) as connection:
            query = "SELECT task_id, state FROM task_instance WHERE dag_id = ?"
            return dict(connection.execute(query, (dag_id,)).fetchall())
    except sqlite3.Error:  # being set up, or locked for a moment
        return {}


def _progress(states: dict[str, str | None]) -> str:
    done = sum(state == "success" for state in states.values())
    active = [task_id for task_id, state in states.items() if state in ("running", "deferred")]
    return f"{done} of {len(states)} tasks done" + (f", running {', '.join(active)}" if active else "")


def _results(stack: LocalStack, written: ExampleResults) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the answers and the reasons of failures, each by book."""
    answers = {
        row["book_id"]: {name: _cell(row[name]) for name in written.columns}
        for row in _rows(stack, written.table)
    }
    failures = {row["book_id"]: row["message"] for row in _rows(stack, f"{written.table}__failed")}
    return answers, failures


def _rows(stack: LocalStack, table: str) -> list[Any]:
    from google.api_core.exceptions import NotFound

    client = bigquery_client(stack)
    try:
        return list(client.list_rows(client.get_table(f"{DATASET}.{table}"), page_size=1000))
    except NotFound:  # the DAG failed before it made the table
        return []


def _cell(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    with WholeFile(path).writing() as file:
        file.write(text.getvalue().encode())
