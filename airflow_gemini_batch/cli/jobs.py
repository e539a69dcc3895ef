"""``gemini-batch jobs``: the batch jobs of a project and location, from a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Annotated

import typer

from airflow_gemini_batch.cli.connection import (
    ConnectionOption,
    EndpointOption,
    LocationOption,
    ProjectOption,
    connect,
)
from airflow_gemini_batch.cli.job_facts import (
    facts_of,
    queued_seconds,
    rows_text,
    run_seconds,
    task_text,
    time_text,
)
from airflow_gemini_batch.cli.job_filter import STATE_NAMES, UNFINISHED, JobFilter, parse_age, parse_labels
from airflow_gemini_batch.cli.screen import (
    EXIT_CODES,
    ExitCode,
    escape,
    exit_code_of,
    print_table,
    results,
    screen,
    table_of,
    telling_errors,
)
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.exceptions import InvalidRequestError, JobServiceError, as_invalid_request
from airflow_gemini_batch.jobs.client import Connection
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.state import BatchJob, JobName, Stage

jobs_app = typer.Typer(
    name="jobs",
    help="List, show, watch and cancel batch jobs on Vertex AI. No command creates a job.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)

_MOST = 50
_WEEK = "7d"


def _state_names(incomplete: str) -> list[str]:
    return [name for name in STATE_NAMES if name.startswith(incomplete)]


def _state(name: str) -> str:
    if name.lower() in STATE_NAMES:
        return name.lower()
    raise typer.BadParameter(f"{name!r} is not one of {', '.join(STATE_NAMES)}")


DagOption = Annotated[str | None, typer.Option(help="Id of the DAG.", rich_help_panel="Which jobs")]
TaskOption = Annotated[str | None, typer.Option(help="Id of the task.", rich_help_panel="Which jobs")]
RunOption = Annotated[str | None, typer.Option(help="Id of the DAG run.", rich_help_panel="Which jobs")]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="KEY=VALUE",
        help="Label of the jobs. Can be repeated.",
        rich_help_panel="Which jobs",
    ),
]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        parser=_state,
        metavar="STATE",
        autocompletion=_state_names,
        help=f"State of the jobs: {', '.join(STATE_NAMES)}. Can be repeated.",
        rich_help_panel="Which jobs",
    ),
]
NewerOption = Annotated[
    str,
    typer.Option(
        "--newer",
        metavar="AGE",
        help="Jobs created since: 30min, 6h, 7d, 2w or all.",
        rich_help_panel="Which jobs",
    ),
]
OlderOption = Annotated[
    str | None,
    typer.Option(
        "--older", metavar="AGE", help="Jobs created before: 30min, 6h, 7d, 2w.", rich_help_panel="Which jobs"
    ),
]
LimitOption = Annotated[
    int, typer.Option(min=1, help="Jobs at most, newest first.", rich_help_panel="Which jobs")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON line on stdout, and nothing else there.")
]
_JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB", help="Name of the job, projects/P/locations/L/batchPredictionJobs/ID, or its ID."
    ),
]
_JobArguments = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="Names of the jobs, or their IDs.")
]


@jobs_app.command("list", epilog=EXIT_CODES)
def list_(
    dag: DagOption = None,
    task: TaskOption = None,
    run: RunOption = None,
    labels: LabelOption = None,
    states: StateOption = None,
    newer: NewerOption = _WEEK,
    older: OlderOption = None,
    limit: LimitOption = _MOST,
    as_json: JsonOption = False,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
    location: LocationOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """List jobs, newest first."""
    with telling_errors():
        wanted = job_filter(dag, task, run, labels, states, newer, older)
        found: list[BatchJob] = []
        error: JobServiceError | None = None
        try:
            found += islice(matching(connect(connection, project, location, endpoint), wanted), limit + 1)
        except JobServiceError as failure:
            error = failure
        shown, more = found[:limit], len(found) > limit
        if as_json:
            now = utc_now()
            complete = not (more or error)
            print(json.dumps({"jobs": [facts_of(job, now) for job in shown], "complete": complete}))
        elif shown:
            print_jobs(shown)
        if error:
            if shown:
                screen.print("The list is not complete: it broke off after these jobs.")
            raise error
        if more:
            screen.print(f"There are more. --limit shows more than {limit}.")
        elif not shown:
            screen.print("There are no such jobs.")


@jobs_app.command(epilog=EXIT_CODES)
def show(
    job: _JobArgument,
    rows: Annotated[
        bool,
        typer.Option(
            "--rows",
            help="Read the answers of a job that has ended, and tell outcomes, tokens and cost. BigQuery bills the "
            "bytes that this reads.",
        ),
    ] = False,
    prices: Annotated[
        str | None, typer.Option(help="CSV file with prices that override the built-in ones, for --rows.")
    ] = None,
    as_json: JsonOption = False,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
    location: LocationOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Show one job, with its follow-ups: state, rows, times, addresses, the error of the service."""
    from airflow_gemini_batch.cli.job_details import Details

    with telling_errors():
        connected = connect(connection, project, location, endpoint)
        name = job_name(connected, job)
        details = Details.read(connected, connected.get_conn(name).get(name))
        if rows:
            details = details.with_rows(connected, prices)
    if as_json:
        print(json.dumps(details.to_json()))
    else:
        results.print(escape(str(details.summary), lines=True), soft_wrap=True, highlight=False)


@jobs_app.command(epilog=EXIT_CODES)
def watch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB...]", help="Names of the jobs, or their IDs. By default, all unfinished ones."
        ),
    ] = None,
    dag: DagOption = None,
    task: TaskOption = None,
    run: RunOption = None,
    labels: LabelOption = None,
    limit: LimitOption = _MOST,
    every: Annotated[
        float, typer.Option(min=0.1, max=3600.0, help="Seconds between two questions about a job, at most.")
    ] = 30.0,
    as_json: JsonOption = False,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
    location: LocationOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Watch jobs until all have ended. Ctrl-C stops the watching, not the jobs."""
    from airflow_gemini_batch.cli.watch import watch_jobs

    with telling_errors():
        connected = connect(connection, project, location, endpoint)
        if names:
            if any((dag, task, run, labels)):
                raise InvalidRequestError("Give the names of jobs, or what they have in common, not both")
            found = _read(connected, names)
        else:
            wanted = job_filter(dag, task, run, labels, [UNFINISHED], "all", None)
            found = list(islice(matching(connected, wanted), limit + 1))
            if len(found) > limit:
                screen.print(f"Watching the newest {limit} jobs. --limit watches more.")
                found = found[:limit]
        if not found:
            screen.print("There are no such jobs.")
        try:
            watched = watch_jobs(connected, found, every)
        except KeyboardInterrupt:
            screen.print("Stopped watching. The jobs continue.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    ended = [one.job for one in watched]
    if as_json:
        now = utc_now()
        facts = [{**facts_of(one.job, now), "known": not one.lost} for one in watched]
        print(json.dumps({"jobs": facts}))
    elif ended:
        print_jobs(ended)
    if any(one.lost for one in watched):
        raise typer.Exit(ExitCode.UNKNOWN)
    if any(job.state.stage is not Stage.SUCCEEDED for job in ended):
        raise typer.Exit(ExitCode.FAILED)


@jobs_app.command(epilog=EXIT_CODES)
def cancel(
    names: _JobArguments,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    connection: ConnectionOption = None,
    project: ProjectOption = None,
    location: LocationOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Cancel jobs. Rows that are finished by then are kept and billed; the others are not."""
    with telling_errors():
        connected = connect(connection, project, location, endpoint)
        found = _read(connected, names)
        ended = [job for job in found if job.state.stage.ended]
        under_way = [job for job in found if not job.state.stage.ended]
        for job in ended:
            screen.print(f"{escape(str(job))} has ended. There is nothing to cancel.", soft_wrap=True)
        if under_way and not yes:
            _ask(under_way)
        codes = [_cancel(connected, job) for job in under_way]
        if as_json:
            now = utc_now()
            print(json.dumps({"jobs": [facts_of(job, now) for job in _read(connected, names)]}))
    if codes and (worst := max(codes)):
        raise typer.Exit(worst)


def _ask(under_way: Sequence[BatchJob]) -> None:
    """Say what is cancelled and what it costs, and exit unless the user agrees."""
    for job in under_way:
        now = utc_now()
        queued, ran = time_text(queued_seconds(job, now)), time_text(run_seconds(job, now))
        times = ", ".join(f"{verb} {text}" for verb, text in (("queued", queued), ("ran", ran)) if text)
        facts = "; ".join(filter(None, (task_text(job), f"rows: {rows_text(job) or 'none yet'}", times)))
        screen.print(escape(f"{job}: {facts}"), soft_wrap=True)
    screen.print(
        "Rows that are finished when a job stops are billed, and their answers are kept. The other rows are neither "
        "answered nor billed.\nA task that waits for the job submits a new one in its next try. To prevent that, mark "
        "the task as failed in Airflow, which also cancels its job."
    )
    if not _can_answer():
        raise InvalidRequestError("Nobody can answer here. Give --yes to cancel without a question")
    if not typer.confirm(f"Cancel {number_of(len(under_way), 'job')}?", err=True):
        screen.print("Nothing was cancelled.")
        raise typer.Exit(ExitCode.FAILED)


def _can_answer() -> bool:
    return sys.stdin.isatty()


def _cancel(connection: Connection, job: BatchJob) -> ExitCode:
    try:
        connection.get_conn(job.name).cancel(job.name)
    except JobServiceError as error:
        became = (
            "It was not cancelled."
            if error.had_no_effect
            else "It is not known whether it is being cancelled."
        )
        screen.print(f"[red]{escape(str(error), lines=True)}[/]\n{became}", soft_wrap=True)
        return exit_code_of(error) if error.had_no_effect else ExitCode.UNKNOWN
    screen.print(
        f"{escape(str(job.name))}: cancellation was requested. It may take minutes, and the job may still end "
        "otherwise: gemini-batch jobs watch shows it.",
        soft_wrap=True,
    )
    return ExitCode.DONE


def job_filter(
    dag: str | None,
    task: str | None,
    run: str | None,
    labels: Sequence[str] | None,
    states: Sequence[str] | None,
    newer: str,
    older: str | None,
) -> JobFilter:
    """Return the filter of the options; raises :class:`.InvalidRequestError` for wrong ones."""

    def age(option: str, text: str | None) -> timedelta | None:
        with as_invalid_request(option):
            return parse_age(text) if text else None

    with as_invalid_request("--label"):
        pairs = parse_labels(labels or ())
    return JobFilter(
        dag,
        task,
        run,
        pairs,
        frozenset(states or ()),
        newer=age("--newer", newer),
        older=age("--older", older),
    )


def matching(connection: Connection, wanted: JobFilter) -> Iterator[BatchJob]:
    """Yield the jobs that meet a filter, newest first, as they are read."""
    now = utc_now()
    for job in connection.get_conn().list(wanted.query(now)):
        if wanted.keeps(job, now):
            yield job


def job_name(connection: Connection, text: str) -> JobName:
    """Return the name of a job that is given by its name or its id."""
    with as_invalid_request("JOB"):
        if "/" in text:
            return connection.job_name(text)
        return connection.job_name(f"{connection.get_conn().parent}/batchPredictionJobs/{text}")


def _read(connection: Connection, names: Sequence[str]) -> list[BatchJob]:
    read = dict.fromkeys(job_name(connection, name) for name in names)
    return [connection.get_conn(name).get(name) for name in read]


def print_jobs(found: Sequence[BatchJob]) -> None:
    """Print jobs as a table."""
    now = utc_now()
    table = table_of(("job", "state", "age", "queued", "ran", "rows", "task"))
    for job in found:
        age = (now - job.create_time).total_seconds() if job.create_time else None
        table.add_row(
            escape(job.name.job_id),
            job.state.short,
            time_text(age),
            time_text(queued_seconds(job, now)),
            time_text(run_seconds(job, now)),
            rows_text(job),
            escape(task_text(job)),
        )
    print_table(table)
