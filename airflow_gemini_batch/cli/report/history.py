"""Past jobs in numbers: by day or week, and by task. Decisions only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import reduce
from statistics import median

from airflow_gemini_batch.cli.job_facts import has_counts, queued_seconds, run_seconds
from airflow_gemini_batch.cli.report.bars import Bars
from airflow_gemini_batch.core.labels import DAG_LABEL, TASK_LABEL
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.summary import number_of
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.outputs.usage import Usage


class End(StrEnum):
    """How a job has ended, as the report counts it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNFINISHED = "not ended"


@dataclass(frozen=True, slots=True)
class PastJob:
    """One job, and what its answers say where they were read.

    :param outcomes: its rows by outcome.
    :param tokens: of all its rows.
    :param cost: ``None`` where it is not known.
    """

    job: BatchJob
    outcomes: Mapping[str, int] = field(default_factory=dict)
    tokens: Usage = field(default_factory=Usage)
    cost: Cost | None = None

    @property
    def end(self) -> End:
        """How it has ended."""
        state = self.job.state
        if state.stage.waits or state.stage is Stage.STUCK:
            return End.UNFINISHED
        named = {
            JobState.CANCELLED: End.CANCELLED,
            JobState.EXPIRED: End.EXPIRED,
            JobState.FAILED: End.FAILED,
        }
        return named.get(state, End.SUCCEEDED)

    @property
    def group(self) -> tuple[str, str]:
        """The DAG and the task, by its labels; empty where it names none."""
        labels = self.job.labels
        return labels.get(DAG_LABEL, ""), labels.get(TASK_LABEL, "")


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """The jobs of one task, in numbers; what is not known is ``None``."""

    dag: str
    task: str
    models: Sequence[str]
    jobs: int
    succeeded: int
    answered: int | None
    failed: int | None
    queued: float | None
    ran: float | None
    cost: str


@dataclass(frozen=True, slots=True)
class History:
    """Jobs of a time.

    :param place: project and location.
    :param since: when the time begins.
    :param now: when the jobs were listed.
    :param rows_read: whether the answers were read.
    :param warnings: what could not be read.
    """

    place: str
    since: datetime
    now: datetime
    jobs: Sequence[PastJob]
    rows_read: bool = False
    warnings: Sequence[str] = ()

    @property
    def bars(self) -> Bars:
        """The bars of the charts."""
        return Bars(self.since, self.now)

    def by_day(self, value: Callable[[PastJob], float | None]) -> list[float]:
        """Return the sum of a value over the jobs that were created in each bar."""
        return self.bars.sums(
            (one.job.create_time, value(one) or 0.0) for one in self.jobs if one.job.create_time
        )

    @property
    def ends(self) -> dict[End, int]:
        """The jobs by their end."""
        counts = Counter(one.end for one in self.jobs)
        return {end: counts[end] for end in End if counts[end]}

    @property
    def outcomes(self) -> dict[str, int]:
        """The rows by outcome, as far as they were read."""
        return dict(sum((Counter(one.outcomes) for one in self.jobs), Counter()))

    @property
    def tokens(self) -> Usage:
        """The tokens of all rows, as far as they were read."""
        return sum((one.tokens for one in self.jobs), Usage())

    @property
    def tasks(self) -> list[TaskHistory]:
        """The tasks, the one with the most jobs first."""
        groups: dict[tuple[str, str], list[PastJob]] = {}
        for one in self.jobs:
            groups.setdefault(one.group, []).append(one)
        return [
            self._task(*group, of_task) for group, of_task in sorted(groups.items(), key=lambda g: -len(g[1]))
        ]

    def _task(self, dag: str, task: str, of_task: Sequence[PastJob]) -> TaskHistory:
        counted = [one.job for one in of_task if has_counts(one.job)]
        jobs = [one.job for one in of_task]
        return TaskHistory(
            dag,
            task,
            sorted({short_model_name(job.model) for job in jobs}),
            len(of_task),
            sum(one.end is End.SUCCEEDED for one in of_task),
            sum(job.successful_count or 0 for job in counted) if counted else None,
            sum(job.failed_count or 0 for job in counted) if counted else None,
            _median(queued_seconds(job, self.now) for job in jobs),
            _median(run_seconds(job, self.now) for job in jobs),
            cost_text(of_task),
        )


def cost_text(jobs: Sequence[PastJob]) -> str:
    """Return what jobs cost together, as text, with the number of those whose cost is not known."""
    known = [one.cost for one in jobs if one.cost is not None]
    if not known:
        return "unknown"
    left = len(jobs) - len(known)
    missing = f", without {number_of(left, 'job')} whose cost is not known" if left else ""
    return f"{reduce(Cost.__add__, known)}{missing}"


def _median(seconds: Iterable[float | None]) -> float | None:
    known = [one for one in seconds if one is not None]
    return median(known) if known else None
