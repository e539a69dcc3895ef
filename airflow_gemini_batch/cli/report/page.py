"""The page of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from airflow_gemini_batch.cli.job_facts import queued_seconds, rows_text, run_seconds, task_text, time_text
from airflow_gemini_batch.cli.report.history import End, History, PastJob, cost_text
from airflow_gemini_batch.core.html import Cell, cards, charts_grid, document, table, text
from airflow_gemini_batch.core.summary import counted, number_of
from airflow_gemini_batch.jobs.summaries import tokens_by_kind

MOST_JOBS = 500
"""Jobs that are listed one by one, newest first."""


def page(history: History, charts: Mapping[str, str]) -> str:
    """Return the page.

    :param charts: SVG by title.
    """
    return document(
        f"Batch jobs of {history.place}",
        [
            f"<h1>Batch jobs</h1><p>{text(history.place)}</p>",
            f'<p class="soft">{history.since:%Y-%m-%d} to {history.now:%Y-%m-%d %H:%M} UTC, by the day of creation</p>',
            *_warnings(history.warnings),
            *cards(_facts(history)),
            *charts_grid("Over time", charts),
            *table("Tasks", _TASK_COLUMNS, _task_rows(history)),
            *table("Jobs that did not succeed", _FAILED_COLUMNS, _failed_rows(history)),
            *table("Jobs", _JOB_COLUMNS, _job_rows(history)),
            *_more(history),
        ],
    )


def _warnings(warnings: Sequence[str]) -> Iterator[str]:
    for warning in warnings[:MOST_JOBS]:
        yield f'<p class="bad">{text(warning)}</p>'


def _facts(history: History) -> Iterator[tuple[str, str]]:
    ends = ", ".join(f"{count:,} {end}" for end, count in history.ends.items())
    yield "Jobs", ends or "none"
    answered = sum(one.job.successful_count or 0 for one in history.jobs)
    failed = sum(one.job.failed_count or 0 for one in history.jobs)
    yield "Rows, as the service counts", counted({"answered": answered, "failed": failed}) or "unknown"
    if not history.rows_read:
        yield "Outcomes, tokens and cost", "not read: --rows reads them"
        return
    yield "Rows by outcome", counted(history.outcomes) or "unknown"
    yield "Tokens", counted(tokens_by_kind(history.tokens)) or "unknown"
    yield "Cost", cost_text(history.jobs)


_TASK_COLUMNS = (
    Cell("DAG"),
    Cell("task"),
    Cell("model"),
    Cell("jobs", "number"),
    Cell("succeeded", "number"),
    Cell("rows answered", "number"),
    Cell("rows failed", "number"),
    Cell("queued, median", "number"),
    Cell("ran, median", "number"),
    Cell("cost"),
)


def _task_rows(history: History) -> Iterator[Sequence[Cell]]:
    for task in history.tasks:
        yield (
            Cell(task.dag or "not by Airflow"),
            Cell(task.task),
            Cell(", ".join(task.models)),
            Cell(f"{task.jobs:,}", "number"),
            Cell(f"{task.succeeded:,}", "number"),
            Cell(_number(task.answered), "number"),
            Cell(_number(task.failed), "number"),
            Cell(time_text(task.queued), "number"),
            Cell(time_text(task.ran), "number"),
            Cell(task.cost),
        )


_FAILED_COLUMNS = (
    Cell("created (UTC)", "number"),
    Cell("job"),
    Cell("task"),
    Cell("end"),
    Cell("error", "long"),
)


def _failed_rows(history: History) -> Iterator[Sequence[Cell]]:
    for one in history.jobs[:MOST_JOBS]:
        if one.end not in (End.SUCCEEDED, End.UNFINISHED):
            error = str(one.job.error) if one.job.error else ""
            yield (
                _created(one),
                _job(one),
                Cell(task_text(one.job)),
                Cell(str(one.end)),
                Cell(error, "long"),
            )


_JOB_COLUMNS = (
    Cell("created (UTC)", "number"),
    Cell("job"),
    Cell("task"),
    Cell("state"),
    Cell("rows"),
    Cell("queued", "number"),
    Cell("ran", "number"),
    Cell("cost"),
)


def _job_rows(history: History) -> Iterator[Sequence[Cell]]:
    for one in history.jobs[:MOST_JOBS]:
        yield (
            _created(one),
            _job(one),
            Cell(task_text(one.job)),
            Cell(one.job.state.short),
            Cell(rows_text(one.job)),
            Cell(time_text(queued_seconds(one.job, history.now)), "number"),
            Cell(time_text(run_seconds(one.job, history.now)), "number"),
            Cell(str(one.cost) if one.cost else "unknown"),
        )


def _more(history: History) -> Iterator[str]:
    if (more := len(history.jobs) - MOST_JOBS) > 0:
        yield f'<p class="soft">and {number_of(more, "older job")}, which the numbers above include</p>'


def _created(one: PastJob) -> Cell:
    time = one.job.create_time
    return Cell(f"{time:%Y-%m-%d %H:%M}" if time else "unknown", "number")


def _job(one: PastJob) -> Cell:
    return Cell(one.job.name.job_id, "number", one.job.name.console_url)


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"
