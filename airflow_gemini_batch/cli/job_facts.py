"""What the commands tell of a job: as JSON, and as text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_gemini_batch.core.labels import DAG_LABEL, MAP_LABEL, RUN_LABEL, TASK_LABEL
from airflow_gemini_batch.core.summary import JobSummary, duration
from airflow_gemini_batch.jobs.listed import round_of
from airflow_gemini_batch.jobs.state import BatchJob, Stage

UNKNOWN = "unknown"


def summary_of(job: BatchJob) -> JobSummary:
    """Return a job as the logs of tasks describe it, with what the service counts of its rows."""
    return JobSummary(
        name=str(job.name),
        state=job.state.short,
        url=job.name.console_url,
        follow_up=round_of(job).number,
        rows={"answered": job.successful_count or 0, "failed": job.failed_count or 0},
        output=str(job.output or ""),
        created=job.create_time,
        started=job.start_time,
        ended=job.end_time,
    )


def has_counts(job: BatchJob) -> bool:
    """Whether the service says how many rows are done; a count of 0 is left out beside another one."""
    return not (job.successful_count is job.failed_count is job.incomplete_count is None)


def queued_seconds(job: BatchJob, now: datetime) -> float | None:
    """Return how long a job has waited to start, so far or in vain; ``None`` where that is not known."""
    if job.state.stage is Stage.QUEUED and job.create_time:
        return max((now - job.create_time).total_seconds(), 0.0)
    return summary_of(job).queued_seconds


def run_seconds(job: BatchJob, now: datetime) -> float | None:
    """Return how long a job has run, so far; ``None`` where that is not known."""
    if job.state.stage.waits and job.start_time:
        return max((now - job.start_time).total_seconds(), 0.0)
    return summary_of(job).run_seconds


def facts_of(job: BatchJob, now: datetime) -> dict[str, Any]:
    """Return a job as JSON types; what is not known is ``null``."""
    counted = has_counts(job)
    return {
        "name": str(job.name),
        "state": job.state.short,
        "dag": job.labels.get(DAG_LABEL),
        "task": job.labels.get(TASK_LABEL),
        "run": job.labels.get(RUN_LABEL),
        "map_index": job.labels.get(MAP_LABEL),
        "follow_up": round_of(job).number,
        "model": job.model,
        "answered": (job.successful_count or 0) if counted else None,
        "failed": (job.failed_count or 0) if counted else None,
        "incomplete": job.incomplete_count,
        "created": _iso(job.create_time),
        "started": _iso(job.start_time),
        "ended": _iso(job.end_time),
        "queued_seconds": queued_seconds(job, now),
        "run_seconds": run_seconds(job, now),
        "display_name": job.display_name,
        "labels": dict(job.labels),
        "requests": list(job.requests),
        "destination": job.destination,
        "output": str(job.output or "") or None,
        "error": {"code": job.error.code, "message": job.error.message} if job.error else None,
        "console_url": job.name.console_url,
    }


def task_text(job: BatchJob) -> str:
    """Return the task that a job belongs to, by its labels; its display name where it names none."""
    named = [job.labels[label] for label in (DAG_LABEL, TASK_LABEL) if label in job.labels]
    if not named:
        return job.display_name
    index = job.labels.get(MAP_LABEL)
    follow_up = round_of(job).number
    return "".join(
        [
            ".".join(named),
            f" [{index}]" if index else "",
            f", follow-up {follow_up}" if follow_up else "",
        ]
    )


def rows_text(job: BatchJob) -> str:
    """Return how many rows are done; of a job that waits to start, nothing."""
    if not has_counts(job):
        return "" if job.state.stage is Stage.QUEUED else UNKNOWN
    done = f"{job.successful_count or 0:,} answered"
    return f"{done}, {job.failed_count:,} failed" if job.failed_count else done


def time_text(seconds: float | None) -> str:
    """Return a duration as text; empty where it is not known."""
    return "" if seconds is None else duration(seconds)


def share_done(job: BatchJob) -> float | None:
    """Return which share of its rows a job has done, 0 to 1; ``None`` unless the service says how many are left."""
    done = (job.successful_count or 0) + (job.failed_count or 0)
    if job.incomplete_count is None:
        return None
    total = done + job.incomplete_count
    return done / total if total else None


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
