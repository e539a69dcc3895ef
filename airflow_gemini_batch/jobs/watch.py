"""Which jobs have newly ended, for those who watch all jobs with certain labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_gemini_batch.jobs.state import BatchJob

EVENT_VERSION = 1


@dataclass(slots=True, eq=False)
class JobWatch:
    """Tells of each job once that has these labels and has ended.

    It remembers the jobs that ended within the look-back only; those that ended before are not told.

    :param labels: labels that the jobs carry, whoever submitted them.
    :param look_back: how long before the last answer a job may have ended.
    """

    labels: Mapping[str, str]
    look_back: timedelta
    _told: dict[str, datetime] = field(default_factory=dict, init=False)
    _answered: datetime | None = field(default=None, init=False)

    def wants(self, job: BatchJob) -> bool:
        """Whether a job has ended and has the labels."""
        return job.state.stage.ended and self.labels.items() <= job.labels.items()

    def since(self, now: datetime) -> datetime:
        """Return from when on ends are told: a service that did not answer for days hides none."""
        return (self._answered or now) - self.look_back

    def remember(self, told: Iterable[str], now: datetime) -> None:
        """Take jobs for told, by their ids."""
        self._told.update(dict.fromkeys(told, now))

    @property
    def told(self) -> list[str]:
        """The ids of the jobs that are remembered, oldest first."""
        return list(self._told)

    def take(self, jobs: Iterable[BatchJob], now: datetime) -> list[BatchJob]:
        """Return the jobs to tell of, in the order of their ends; they count as told."""
        since = self.since(now)
        ended = [(job.end_time or now, job) for job in jobs if self.wants(job)]
        self._told = {job_id: end for job_id, end in self._told.items() if end >= since}
        new = [(end, job) for end, job in ended if end >= since and job.name.job_id not in self._told]
        new.sort(key=lambda each: each[0])
        self._told.update((job.name.job_id, end) for end, job in new)
        self._answered = now
        return [job for _, job in new]


def ended_event(job: BatchJob) -> dict[str, Any]:
    """Return what is told of a job that has ended, as JSON types; what is not known is ``None``."""
    return {
        "version": EVENT_VERSION,
        "job_name": str(job.name),
        "state": job.state.value,
        "display_name": job.display_name,
        "labels": dict(job.labels),
        "create_time": _iso(job.create_time),
        "start_time": _iso(job.start_time),
        "end_time": _iso(job.end_time),
        "successful_count": job.successful_count,
        "failed_count": job.failed_count,
        "incomplete_count": job.incomplete_count,
        "output": str(job.output or "") or None,
        "error": str(job.error or "") or None,
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None
