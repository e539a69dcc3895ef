"""Submit a job that is paid for once: look first, create once, and when in doubt look again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_gemini_batch.core.labels import IDENTITY_LABEL
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import ForeignJobError, JobServiceError, SubmissionUnknownError
from airflow_gemini_batch.jobs.client import JobClient, JobQuery
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience
from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.jobs.submission import JobRequest


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job of a submission.

    :param adopted: whether an earlier try created it.
    """

    job: BatchJob
    adopted: bool


OwnJobs = Callable[[Sequence[BatchJob]], list[BatchJob]]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def submit_once(
    client: JobClient,
    identity: str,
    make_request: Callable[[int], JobRequest],
    log: Log,
    *,
    first_try: bool = True,
    is_worth_keeping: Callable[[BatchJob], bool] = lambda _: False,
    differences: Callable[[BatchJob], Sequence[str]] = lambda _: (),
    stand_in: Callable[[], BatchJob | None] = lambda: None,
    patience: Patience = DEFAULT_PATIENCE,
) -> Submitted:
    """Return the job with this identity: an existing one, or a new one.

    A job under way or succeeded is taken over. After one that failed, or that is being cancelled, a new job is
    created.

    :param make_request: makes the request from the number of earlier jobs with this identity.
    :param first_try: whether no try came before; a later try that finds no job looks again for a while.
    :param is_worth_keeping: whether an expired job is taken over as well, for the rows that it has finished.
    :param differences: in what a job differs from the one that would be created. A job that differs belongs to somebody
        else, whatever its label says, and is neither taken over nor cancelled.
    :param stand_in: finds a job of another submission that makes a new one unnecessary; asked last.

    Raises :class:`~airflow_gemini_batch.exceptions.ForeignJobError` when there are only jobs that differ,
    :class:`~airflow_gemini_batch.exceptions.JobServiceError` when the jobs could not be listed (then nothing was
    submitted) or the service refused the job (too many calls included: then no job exists), and
    :class:`~airflow_gemini_batch.exceptions.SubmissionUnknownError` when it is not known whether a job exists.
    """

    def own_of(jobs: Sequence[BatchJob]) -> list[BatchJob]:
        return [job for job in jobs if not differences(job)]

    earlier = jobs_of(client, identity)
    for pause in () if first_try else patience.before_create:
        if own_of(earlier):
            break
        log.info("Found no job of an earlier try; looking again in %g s", pause)
        patience.sleep(pause)
        earlier = jobs_of(client, identity)
    own = own_of(earlier)
    foreign = [job for job in earlier if job not in own and _looks_usable(job)]
    job = _usable(client, own, log) or _expired(own, is_worth_keeping)
    if job:
        for other in foreign:
            log.error("%s", foreign_message(other, differences(other), "It was left alone"))
        log.info(
            "This submission has a job already, so nothing new is paid: %s\n%s\nTo pay for a new job, clear the task "
            "with force_rerun=True.",
            job,
            job.name.console_url,
        )
        return Submitted(job, adopted=True)
    if foreign:
        raise ForeignJobError(
            foreign_message(
                foreign[0],
                differences(foreign[0]),
                "It was neither taken over nor cancelled, and no job was created. Cancel it and delete it, if it is a "
                "copy that nobody needs, and clear this task. Or set force_rerun=True to pay for a job with another "
                f"identity\nConsole: {foreign[0].name.console_url}",
            )
        )
    for job in earlier:
        log.info("An earlier job of this submission cannot be used: %s", job)

    if job := stand_in():
        return Submitted(job, adopted=True)
    request = make_request(len(earlier))
    try:
        job = _create(client, request, log, patience)
    except JobServiceError as error:
        if error.had_no_effect:
            raise
        log.warning("It is not known whether the job was created; looking for it. %s", error)
        known = {job.name.job_id for job in earlier}
        job = _look_again(client, identity, known, own_of, error, log, patience)
    log.info("Created %s\n%s", job, job.name.console_url)
    return _keep_one(client, identity, job, own_of, log)


def _create(client: JobClient, request: JobRequest, log: Log, patience: Patience) -> BatchJob:
    """Create a job; a call that was certainly refused, and only for the moment, is sent again a few times."""
    for pause in patience.refused_create:
        try:
            return client.create(request)
        except JobServiceError as error:
            if not (error.transient and error.had_no_effect):
                raise
            log.warning("No job was created; trying again in %g s. %s", pause, error)
            patience.sleep(pause)
    return client.create(request)


def jobs_of(client: JobClient, identity: str) -> list[BatchJob]:
    """Return all jobs with this identity, oldest first."""
    listed = client.list(JobQuery(labels={IDENTITY_LABEL: identity}))
    # A filter that the service did not apply must not hand us the job of another submission.
    own = [job for job in listed if job.labels.get(IDENTITY_LABEL) == identity]
    return sorted(own, key=age)


def age(job: BatchJob) -> tuple[datetime, str]:
    """Return what jobs are sorted by, oldest first."""
    return job.create_time or _LONG_AGO, job.name.job_id


def _looks_usable(job: BatchJob) -> bool:
    """Whether a job would be taken over if it were ours."""
    return job.state is JobState.EXPIRED or job.state.stage in (Stage.SUCCEEDED, Stage.QUEUED, Stage.RUNNING)


def foreign_message(job: BatchJob, differences: Sequence[str], outcome: str) -> str:
    """Return the message about a job that is not what its label says."""
    lines = [f"{job} carries the label of this submission, but is another job:", *differences, outcome]
    return "\n".join(lines)


def _usable(client: JobClient, jobs: list[BatchJob], log: Log) -> BatchJob | None:
    """Return the job to take over: the oldest of several. The others that are under way are cancelled."""
    succeeded = [job for job in jobs if job.state.stage is Stage.SUCCEEDED]
    under_way = [job for job in jobs if job.state.stage in (Stage.QUEUED, Stage.RUNNING)]
    kept = next(iter([*succeeded, *under_way]), None)
    for job in under_way:
        if job is kept:
            continue
        log.error("There is more than one job for this submission: keeping %s, cancelling %s", kept, job)
        try:
            client.cancel(job.name)
        except JobServiceError as error:
            log.error("Could not cancel %s. It bills unless it has ended by now: %s", job.name, error)
    return kept


def _expired(jobs: list[BatchJob], is_worth_keeping: Callable[[BatchJob], bool]) -> BatchJob | None:
    expired = (job for job in jobs if job.state is JobState.EXPIRED)
    return next((job for job in expired if is_worth_keeping(job)), None)


def _keep_one(client: JobClient, identity: str, created: BatchJob, own_of: OwnJobs, log: Log) -> Submitted:
    """Keep one job if another scheduler has created one for the same submission at the same moment."""
    try:
        listed = jobs_of(client, identity)
    except JobServiceError as error:
        log.warning("Could not check whether another scheduler created a job at the same moment: %s", error)
        return Submitted(created, adopted=False)
    jobs = own_of([job for job in listed if job.name.job_id != created.name.job_id])
    # A new job can take a moment to appear in the list.
    jobs += [job for job in listed if job.name.job_id == created.name.job_id] or [created]
    jobs.sort(key=age)
    kept = _usable(client, jobs, log)
    if kept is None or kept.name.job_id == created.name.job_id:
        return Submitted(created, adopted=False)
    return Submitted(kept, adopted=True)


def _look_again(
    client: JobClient,
    identity: str,
    known: set[str],
    own_of: OwnJobs,
    cause: JobServiceError,
    log: Log,
    patience: Patience,
) -> BatchJob:
    for pause in patience.after_create:
        patience.sleep(pause)
        try:
            new = [job for job in own_of(jobs_of(client, identity)) if job.name.job_id not in known]
        except JobServiceError as error:
            log.warning("Could not look for the job: %s", error)
            continue
        if new:
            return new[0]
    raise SubmissionUnknownError(
        f"{cause}\nNo job with the label {IDENTITY_LABEL}={identity} has appeared in "
        f"{sum(patience.after_create):.0f} seconds. The next try looks for it once more before it creates one."
    ) from cause
