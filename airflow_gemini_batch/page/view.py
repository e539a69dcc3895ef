"""Jobs as the page shows them: texts and addresses. Pure; what is not known is said to be unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from airflow_gemini_batch.core.summary import JobSummary, counted, duration, number_of
from airflow_gemini_batch.costs.prices import Cost, dollars
from airflow_gemini_batch.jobs.listed import round_of
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from airflow_gemini_batch.page.task_jobs import TaskJob

UNKNOWN = "unknown"
NOT_YET = "not yet"
_CONSOLE = "https://console.cloud.google.com/"


@dataclass(frozen=True, slots=True)
class Link:
    """A page outside of this one."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class JobView:
    """One task instance with its jobs.

    :param task_url: of the task instance in Airflow, below Airflow's base address.
    :param state: of the task instance.
    :param job_state: what Vertex AI says of the latest job, or ``unknown``.
    :param times: how long the job is or was queued, and runs or ran.
    :param console: pages in the Google Cloud console.
    """

    name: str
    dag_id: str
    run_id: str
    task_url: str
    state: str
    job_state: str
    is_under_way: bool
    changed: str
    model: str
    rows: str
    tokens: str
    cost: str
    times: str
    console: Sequence[Link]


def job_view(task: TaskJob, job: BatchJob | None, now: datetime) -> JobView:
    """Describe a task instance.

    :param job: what Vertex AI says of the job that the task waits for, where that is known.
    """
    facts = task.facts
    nothing = NOT_YET if task.is_under_way else UNKNOWN
    mapped = f" [{task.map_index}]" if task.map_index >= 0 else ""
    return JobView(
        name=f"{task.task_id}{mapped}",
        dag_id=task.dag_id,
        run_id=task.run_id,
        task_url=task_path(task.dag_id, task.run_id, task.task_id, task.map_index),
        state=task.state or "cleared",
        job_state=_job_state(task, job),
        is_under_way=task.is_under_way,
        changed=moment(task.changed),
        model=facts.model if facts else task.model or UNKNOWN,
        rows=_rows(task, job),
        tokens=(counted(facts.tokens) or "none") if facts else nothing,
        cost=_cost(facts.cost) if facts else nothing,
        times=_times_under_way(job, now) if job else _times(task, now),
        console=_console(task),
    )


def task_path(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the address of a task instance's page, below Airflow's base address."""
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    parts = (quote(part, safe="") for part in (dag_id, run_id, task_id))
    return "dags/{}/runs/{}/tasks/{}".format(*parts) + mapped


def moment(time: datetime) -> str:
    """Return a time as people read it."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _job_state(task: TaskJob, job: BatchJob | None) -> str:
    if job:
        number = round_of(job).number
        return job.state.short + (f", follow-up {number}" if number else "")
    if task.facts and task.facts.jobs:
        return task.facts.jobs[-1].state
    return UNKNOWN


def _rows(task: TaskJob, job: BatchJob | None) -> str:
    if task.facts:
        return counted(task.facts.rows) or "none"
    if job is None:
        return UNKNOWN
    if job.successful_count is None:
        return NOT_YET
    failed = f", {job.failed_count:,} failed" if job.failed_count else ""
    return f"{job.successful_count:,} answered{failed}" + ("" if job.state.stage.ended else " so far")


def _cost(cost: Cost | None) -> str:
    if cost is None or cost.amount is None:
        return UNKNOWN
    return dollars(cost.amount) + (" and more" if cost.unpriced else "")


def _times_under_way(job: BatchJob, now: datetime) -> str:
    if job.create_time is None:
        return UNKNOWN
    queued = duration(max(((job.start_time or job.end_time or now) - job.create_time).total_seconds(), 0.0))
    if job.start_time is None:
        return f"queued for {queued}" if job.state.stage is Stage.QUEUED else f"queued {queued}"
    ran = duration(max(((job.end_time or now) - job.start_time).total_seconds(), 0.0))
    return f"queued {queued}, {'ran' if job.end_time else 'running for'} {ran}"


def _times(task: TaskJob, now: datetime) -> str:
    """Return how long the jobs took, one after the other; of a job that is waited for, when it was created."""
    jobs: Sequence[JobSummary] = task.facts.jobs if task.facts else ()
    if task.waited_for and task.waited_for.submitted_at is not None and not jobs:
        return f"created {duration(max(now.timestamp() - task.waited_for.submitted_at, 0.0))} ago"
    sums = (
        ("queued", [job.queued_seconds for job in jobs if job.queued_seconds is not None]),
        ("ran", [job.run_seconds for job in jobs if job.run_seconds is not None]),
    )
    parts = [f"{verb} {duration(sum(seconds))}" for verb, seconds in sums if seconds]
    if len(jobs) > 1:
        parts.append(f"with {number_of(len(jobs) - 1, 'follow-up')}")
    return ", ".join(parts) or UNKNOWN


def _console(task: TaskJob) -> list[Link]:
    """Return the pages of the jobs: of those in the result, else of those whose addresses the task has stored."""
    if task.facts and task.facts.jobs:
        urls = [job.url for job in task.facts.jobs]
    else:
        urls = [url for url in (task.job_url, task.follow_up_url) if url.startswith(_CONSOLE)]
    return [Link(f"Follow-up {n}" if n else "Job", url) for n, url in enumerate(urls)]
