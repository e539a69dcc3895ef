"""Submissions as a list of jobs shows them: their rounds in order, and whether they are complete. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_gemini_batch.core.defaults import DEFAULT_MAX_ROW_RETRIES
from airflow_gemini_batch.core.labels import DAG_LABEL, LAST_ROUND_LABEL, MAP_LABEL, RUN_LABEL, TASK_LABEL
from airflow_gemini_batch.jobs.identity import RoundId
from airflow_gemini_batch.jobs.readiness import Readiness, ReadinessState, job_readiness, not_yet, ready
from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListedSubmission:
    """The jobs of one submission, one for each round that there is so far: the first job, then its follow-ups."""

    rounds: Sequence[BatchJob]

    @property
    def first(self) -> BatchJob:
        """The job that all requests were sent in."""
        return self.rounds[0]

    @property
    def last(self) -> BatchJob:
        """The job of the latest round."""
        return self.rounds[-1]

    def may_go_on_until(self, follow_up_wait: float) -> datetime | None:
        """Return until when a follow-up may still appear, if rows of the last round are without an answer.

        Its task needs some time after a job's end: to hear of it, to read the output, to send the rows again. ``None``
        when no follow-up comes any more, or when the last job has not ended.

        :param follow_up_wait: how long a follow-up is waited for after a job's end, in seconds.
        """
        job = self.last
        round_ = round_of(job)
        succeeded = job.state.stage is Stage.SUCCEEDED or job.state is JobState.EXPIRED
        ended = job.end_time or job.create_time
        if not round_.root or not succeeded or ended is None or round_.number >= _last_round(job):
            return None
        return ended + timedelta(seconds=follow_up_wait)

    def readiness(self, awaited: str = "") -> Readiness:
        """Judge the jobs by themselves: ready once the last one has ended and the first one has a result.

        However a follow-up ends, the answers of the rounds before it are there.

        :param awaited: why a follow-up may still come; empty when none does.
        """
        last = job_readiness(self.last)
        if last.state is ReadinessState.NOT_YET:
            return last
        if awaited:
            return not_yet(f"{self.last}: {awaited}")
        if last.state is ReadinessState.NEVER and len(self.rounds) == 1:
            return last
        return ready(
            ", ".join(map(str, self.rounds)),
            job_name=str(self.first.name),
            state=self.first.state.value,
            output=str(self.first.output or ""),
            jobs=[str(job.name) for job in self.rounds],
            outputs=[str(job.output) for job in self.rounds if job.output],
        )


def round_of(job: BatchJob) -> RoundId:
    """Return the round of a job; that of no submission for a job whose labels this package has not written."""
    try:
        return RoundId.of(job)
    except ValueError:
        return RoundId("")


def _last_round(job: BatchJob) -> int:
    label = job.labels.get(LAST_ROUND_LABEL, "")
    if label.isdigit():
        return int(label)
    # A job of an earlier release. Its task may allow more follow-ups than the default.
    return max(DEFAULT_MAX_ROW_RETRIES, round_of(job).number + 1)


def submission_of(jobs: Iterable[BatchJob]) -> ListedSubmission:
    """Put the jobs of one submission in order: the first job, then the follow-up of each.

    A round may have several jobs: those that failed, and two that were created at the same moment.
    """
    left = list({job.name.job_id: job for job in jobs}.values())
    followed = {round_of(job).after for job in left}
    rounds: list[BatchJob] = []
    number = min(round_of(job).number for job in left)
    after = None
    while this := [
        job
        for job in left
        if round_of(job).number == number and (after is None or round_of(job).after == after)
    ]:
        rounds.append(min(this, key=lambda job: _preference(job, followed)))
        number, after = number + 1, rounds[-1].name.job_id
    return ListedSubmission(tuple(rounds))


def _preference(job: BatchJob, followed: set[str]) -> tuple[bool, int, float, str]:
    """Return what is smallest for the job that its task takes: see :func:`.submit_once`."""
    age = _created(job).timestamp() if job.create_time else 0.0
    if job.state.stage is Stage.SUCCEEDED:
        stage = 0
    elif job.state.stage.waits:
        stage = 1
    else:
        # Of those that failed, the latest is the one whose reason counts.
        stage, age = 2, -age
    return job.name.job_id not in followed, stage, age, job.name.job_id


def submissions_of(jobs: Iterable[BatchJob]) -> list[ListedSubmission]:
    """Group jobs by submission, oldest first; of a task that has submitted more than once, the latest counts.

    A job that this package has not made is a submission by itself.
    """
    by_root: dict[str, list[BatchJob]] = {}
    for job in jobs:
        by_root.setdefault(round_of(job).root or str(job.name), []).append(job)
    found = sorted(map(submission_of, by_root.values()), key=lambda one: _created(one.first))
    return list({_task_instance(one.first): one for one in found}.values())


def _task_instance(job: BatchJob) -> tuple[str, ...]:
    run = tuple(job.labels.get(label, "") for label in (DAG_LABEL, TASK_LABEL, RUN_LABEL))
    if LAST_ROUND_LABEL not in job.labels or not all(run):
        # Without the map index nobody knows whether two jobs are of one task or of two mapped ones.
        return (str(job.name),)
    return (*run, job.labels.get(MAP_LABEL, ""))


def of_newest_run(jobs: Sequence[BatchJob]) -> list[BatchJob]:
    """Return the jobs of the DAG run that created the newest one, or that job alone if it names no run."""
    if not jobs:
        return []

    def run_of(job: BatchJob) -> tuple[str, ...]:
        run = job.labels.get(RUN_LABEL)
        return (job.labels.get(DAG_LABEL, ""), run) if run else (str(job.name),)

    newest = run_of(max(jobs, key=_created))
    return [job for job in jobs if run_of(job) == newest]


def are_of_one_task_run(submissions: Sequence[ListedSubmission]) -> bool:
    """Whether these are one submission, or those of the map indexes of one task in one run."""
    runs = {
        tuple(one.first.labels.get(label) for label in (DAG_LABEL, TASK_LABEL, RUN_LABEL))
        for one in submissions
    }
    return len(submissions) < 2 or (len(runs) == 1 and all(next(iter(runs))))


def whole_readiness(parts: Sequence[Readiness]) -> Readiness:
    """Judge several submissions as one: ready when all are, never when one will never be."""
    for state in (ReadinessState.NEVER, ReadinessState.NOT_YET):
        if these := [part for part in parts if part.state is state]:
            more = f" ({len(these)} of {len(parts)} jobs)" if len(parts) > 1 else ""
            return Readiness(state, f"{these[0].reason}{more}")
    results = [dict(part.result or {}) for part in parts]
    return ready(
        "; ".join(part.reason for part in parts),
        **{
            **results[0],
            "jobs": [name for result in results for name in result["jobs"]],
            "outputs": [output for result in results for output in result["outputs"]],
        },
    )


def _created(job: BatchJob) -> datetime:
    return job.create_time or _LONG_AGO
