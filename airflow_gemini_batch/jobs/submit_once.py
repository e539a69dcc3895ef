"""Submit a job that is paid for once: look first, create once, and when in doubt look again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_gemini_batch.core.labels import IDENTITY_LABEL, labels_filter
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import SubmissionUnknownError, VertexApiError
from airflow_gemini_batch.jobs.client import JobClient
from airflow_gemini_batch.jobs.state import BatchJob, JobState, Stage
from airflow_gemini_batch.jobs.submission import JobRequest

# When an earlier try may have died with its create call on the way, or before the list showed the job: when to
# look again before a job is created, in seconds.
_LOOK_TWICE_AFTER = (2.0, 4.0, 8.0)

# After a create call with no readable answer: when to look whether the job is there, in seconds. A new job
# can take a moment to appear in the list.
_LOOK_AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job of a submission.

    :param adopted: whether it was there already, created by an earlier try.
    """

    job: BatchJob
    adopted: bool


def _nothing_to_keep(job: BatchJob) -> bool:
    return False


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def submit_once(
    client: JobClient,
    identity: str,
    make_request: Callable[[int], JobRequest],
    log: Log,
    *,
    first_try: bool = True,
    is_worth_keeping: Callable[[BatchJob], bool] = _nothing_to_keep,
    sleep: Callable[[float], None] = time.sleep,
) -> Submitted:
    """Return the job with this identity: one that is there already, or a new one.

    A job under way or succeeded is taken over. After one that ended badly, or that is being cancelled, a new
    one is created.

    :param make_request: makes the request from the number of earlier jobs with this identity.
    :param first_try: whether nobody has tried before; a later try that finds no job looks again for a while.
    :param is_worth_keeping: whether an expired job is taken over as well, for the rows that it has finished.

    Raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` when the service could not be asked (then
    nothing was submitted) or refused the job, and
    :class:`~airflow_gemini_batch.exceptions.SubmissionUnknownError` when it stays open whether one exists.
    """
    earlier = jobs_of(client, identity)
    for pause in () if first_try else _LOOK_TWICE_AFTER:
        if earlier:
            break
        log.info("No job of an earlier try is to be seen; looking again in %g s", pause)
        sleep(pause)
        earlier = jobs_of(client, identity)
    job = _usable(client, earlier, log) or _expired(earlier, is_worth_keeping)
    if job:
        log.info(
            "This submission has a job already, nothing new is paid: %s\n%s\nTo pay for a new one, set "
            "force_rerun=True.",
            job,
            job.name.console_url,
        )
        return Submitted(job, adopted=True)
    for job in earlier:
        log.info("An earlier job of this submission can't be used: %s", job)

    request = make_request(len(earlier))
    try:
        job = client.create(request)
    except VertexApiError as error:
        if not error.transient:
            raise
        log.warning("It is not known whether the job was created, looking for it. %s", error)
        job = _look_again(client, identity, {job.name.job_id for job in earlier}, error, log, sleep)
    log.info("Created %s\n%s", job, job.name.console_url)
    return _only_one(client, identity, job, log)


def jobs_of(client: JobClient, identity: str) -> list[BatchJob]:
    """Return all jobs with this identity, oldest first."""
    found = client.list(labels_filter({IDENTITY_LABEL: identity}))
    # The labels are compared here too: a filter that was not applied must not hand us another's job.
    own = [job for job in found if job.labels.get(IDENTITY_LABEL) == identity]
    return sorted(own, key=lambda job: (job.create_time or _LONG_AGO, job.name.job_id))


def _usable(client: JobClient, jobs: list[BatchJob], log: Log) -> BatchJob | None:
    """Return the job to take over; of several the oldest is kept, and what is under way besides is cancelled."""
    succeeded = [job for job in jobs if job.state.stage is Stage.SUCCEEDED]
    under_way = [job for job in jobs if job.state.stage in (Stage.QUEUED, Stage.RUNNING)]
    kept = next(iter([*succeeded, *under_way]), None)
    for other in under_way:
        if other is kept:
            continue
        log.error("There is more than one job for this submission: %s is kept, %s is cancelled", kept, other)
        try:
            client.cancel(other.name)
        except VertexApiError as error:
            log.error("It could not be cancelled, and bills unless it has ended by now: %s", error)
    return kept


def _expired(jobs: list[BatchJob], is_worth_keeping: Callable[[BatchJob], bool]) -> BatchJob | None:
    expired = (job for job in jobs if job.state is JobState.EXPIRED)
    return next((job for job in expired if is_worth_keeping(job)), None)


def _only_one(client: JobClient, identity: str, created: BatchJob, log: Log) -> Submitted:
    """Keep one job when another scheduler has created one for the same submission at the same moment."""
    try:
        found = jobs_of(client, identity)
    except VertexApiError as error:
        log.warning("It was not looked whether another job was created at the same moment: %s", error)
        return Submitted(created, adopted=False)
    if created.name.job_id not in {job.name.job_id for job in found}:
        found.append(created)  # a new job can take a moment to appear in the list
    kept = _usable(client, found, log)
    if kept is None or kept.name.job_id == created.name.job_id:
        return Submitted(created, adopted=False)
    return Submitted(kept, adopted=True)


def _look_again(
    client: JobClient,
    identity: str,
    known: set[str],
    cause: VertexApiError,
    log: Log,
    sleep: Callable[[float], None],
) -> BatchJob:
    for pause in _LOOK_AGAIN_AFTER:
        sleep(pause)
        try:
            new = [job for job in jobs_of(client, identity) if job.name.job_id not in known]
        except VertexApiError as error:
            log.warning("Could not look for the job: %s", error)
            continue
        if new:
            return new[0]
    raise SubmissionUnknownError(
        f"{cause}\nNo job with the label {IDENTITY_LABEL}={identity} has appeared in "
        f"{sum(_LOOK_AGAIN_AFTER):.0f} seconds. The next try looks for it once more before it creates one."
    ) from cause
