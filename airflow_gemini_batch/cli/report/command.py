"""The command ``gemini-batch report``."""

from __future__ import annotations

from datetime import UTC, datetime, time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from airflow_gemini_batch.cli.connection import (
    ConnectionOption,
    EndpointOption,
    LocationOption,
    ProjectOption,
    connect,
)
from airflow_gemini_batch.cli.jobs import (
    DagOption,
    LabelOption,
    NewerOption,
    RunOption,
    TaskOption,
    job_filter,
    matching,
)
from airflow_gemini_batch.cli.report.history import History, PastJob
from airflow_gemini_batch.cli.report.output import CHARTS_MISSING, write_page
from airflow_gemini_batch.cli.screen import escape, screen, telling_errors
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.exceptions import RowsUnreadableError
from airflow_gemini_batch.jobs.client import Connection
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.state import BatchJob
from airflow_gemini_batch.outputs.usage import Usage


def report(
    output: Annotated[Path, typer.Option(help="File to write the page to.")] = Path(
        "gemini-batch-report.html"
    ),
    dag: DagOption = None,
    task: TaskOption = None,
    run: RunOption = None,
    labels: LabelOption = None,
    newer: NewerOption = "30d",
    rows: Annotated[
        bool,
        typer.Option(
            "--rows",
            help="Read the answers of all jobs that have ended, and tell outcomes, tokens and cost. BigQuery bills the "
            "bytes that this reads.",
        ),
    ] = False,
    prices: Annotated[
        str | None, typer.Option(help="CSV file with prices that override the built-in ones, for --rows.")
    ] = None,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
    location: LocationOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Write an HTML page about past jobs: ends, rows, times, cost. It needs no network and no other file."""
    if find_spec("matplotlib") is None:
        screen.print(escape(CHARTS_MISSING))
        raise typer.Exit(2)
    with telling_errors():
        connected = connect(connection, project, location, endpoint)
        wanted = job_filter(dag, task, run, labels, None, newer, None)
        now = utc_now()
        with screen.status("Listing jobs …"):
            found = list(matching(connected, wanted))
        warnings: list[str] = []
        past = [_past(connected, job, prices, warnings) if rows else PastJob(job) for job in found]
        oldest = min((job.create_time for job in found if job.create_time), default=now)
        history = History(
            connected.get_conn().parent,
            _midnight(now - wanted.newer if wanted.newer else oldest),
            now,
            past,
            rows_read=rows,
            warnings=warnings,
        )
        write_page(output, _drawn(history))
    screen.print(escape(f"{number_of(len(found), 'job')}: {output}"), soft_wrap=True)
    for warning in warnings:
        screen.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)


def _past(connection: Connection, job: BatchJob, prices: str | None, warnings: list[str]) -> PastJob:
    from airflow_gemini_batch.cli.job_rows import read_job

    if job.state.stage.waits:
        return PastJob(job)
    with screen.status(escape(f"Reading the rows of {job.name.job_id} …")):
        try:
            read = read_job(connection, job, prices)
        except RowsUnreadableError as error:
            warnings.append(str(error))
            return PastJob(job)
    warnings += (f"{job.name.job_id}: {text}" for text in read.warnings)
    outcomes = {str(outcome): count for outcome, count in read.rounds[0].tally.counts.items() if count}
    return PastJob(job, outcomes, sum(read.spending.usage.values(), Usage()), read.spending.cost)


def _drawn(history: History) -> str:
    from airflow_gemini_batch.cli.report import charts
    from airflow_gemini_batch.cli.report.page import page

    if not history.jobs:
        return page(history, {})
    period = history.bars.period
    drawn = {
        f"Jobs by {period}": charts.jobs_chart,
        f"Rows by {period}, as the service counts": charts.rows_chart,
        "Time queued and run, of each job": charts.times_chart,
        **({f"Cost by {period}": charts.cost_chart} if history.rows_read else {}),
    }
    return page(history, {title: draw(history) for title, draw in drawn.items()})


def _midnight(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)
