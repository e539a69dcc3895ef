"""Which jobs a command is about: by what they are labelled with, their state and their age. Decisions only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_gemini_batch.core.labels import airflow_labels, former_airflow_labels, names
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobState

UNFINISHED = "unfinished"
STATE_NAMES = (UNFINISHED, *(state.short.lower() for state in JobState))

_AGE = re.compile(r"(\d{1,4})\s*(min|h|d|w)", re.ASCII)
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Jobs that meet all conditions.

    :param dag: id of the DAG; likewise ``task`` and ``run``.
    :param labels: labels that they carry.
    :param states: names of :data:`STATE_NAMES`; all states without any.
    :param newer: how long ago they were created at most; likewise ``older``, at least.
    """

    dag: str | None = None
    task: str | None = None
    run: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    states: frozenset[str] = frozenset()
    newer: timedelta | None = None
    older: timedelta | None = None

    def query(self, now: datetime) -> JobQuery:
        """Return what the service is asked for. It may give more, so :meth:`keeps` looks at each job."""
        parts = self.dag, self.task, self.run
        labels = dict(self.labels)
        # Jobs of earlier releases may carry other labels.
        if airflow_labels(*parts) == former_airflow_labels(*parts):
            labels |= airflow_labels(*parts)
        return JobQuery(
            labels=labels,
            unfinished=self.states == {UNFINISHED},
            created=(now - self.newer, now + _CLOCK_SKEW) if self.newer else None,
        )

    def keeps(self, job: BatchJob, now: datetime) -> bool:
        """Whether a job meets the conditions."""
        if not self.labels.items() <= job.labels.items():
            return False
        if not names(job.labels, self.dag, self.task, self.run):
            return False
        if self.states and not self._has_state(job):
            return False
        age = now - job.create_time if job.create_time else None
        # What the service does not say does not hide a job.
        return age is None or (
            (self.newer is None or age <= self.newer) and (self.older is None or age >= self.older)
        )

    def _has_state(self, job: BatchJob) -> bool:
        return job.state.short.lower() in self.states or (UNFINISHED in self.states and job.state.stage.waits)


def parse_age(text: str) -> timedelta | None:
    """Read a time such as ``30min``, ``6h``, ``7d`` or ``2w``; ``None`` for ``all``.

    Raises :class:`ValueError` for another text.
    """
    if text == "all":
        return None
    match = _AGE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a time such as 30min, 6h, 7d, 2w or all")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Read labels such as ``team=search``; raises :class:`ValueError` for another text."""
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals) or '"' in text or "\\" in text:
            raise ValueError(f"{text!r} is not a label such as team=search")
        labels[key] = value
    return labels
