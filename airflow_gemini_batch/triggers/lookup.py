"""Finding the jobs of a submission and what they have answered, through the hook."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress
from airflow_gemini_batch.core.labels import ROOT_LABEL
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.jobs.client import JobClient, JobQuery
from airflow_gemini_batch.jobs.listed import ListedSubmission, round_of, submission_of, submissions_of
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.readiness import Readiness
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from airflow_gemini_batch.jobs.submission import parse_requests
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.summary import OutputSummary

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
    from airflow_gemini_batch.outputs.store import DataStore

LONGEST_JOB = timedelta(days=5)
"""Longest time from a job's creation to its first output: it may wait for 72 hours, and run for 24."""


def labelled(client: JobClient, labels: Mapping[str, str]) -> list[BatchJob]:
    """Return the jobs with these labels, newest first."""
    # A filter that the service did not apply must not hand us another job.
    return [job for job in client.list(JobQuery(labels=labels)) if labels.items() <= job.labels.items()]


def submission_with(client: JobClient, job: BatchJob) -> ListedSubmission:
    """Return the submission that a job is part of, whichever of its rounds the job is."""
    known = [job]
    while (before := round_of(known[0])).after and before.number:
        first = client.get(known[0].name.sibling(before.after))
        if round_of(first).number >= before.number:  # no order that this package makes
            break
        known.insert(0, first)
    return _whole(client, known)


def _whole(client: JobClient, known: list[BatchJob]) -> ListedSubmission:
    root = round_of(known[0]).root
    under_way = len(known) == 1 and known[0].state.stage.waits
    follow_ups = [] if under_way or not root else labelled(client, {ROOT_LABEL: root})
    return submission_of([*known, *follow_ups])


def submissions_writing_to(
    client: JobClient, output: Address, since: datetime | None
) -> list[ListedSubmission]:
    """Return the submissions whose first job, or a follow-up, writes to a table or below a prefix.

    :param since: when the oldest output there was created.
    """
    now = utc_now()
    created = ((since or now) - LONGEST_JOB, now + timedelta(days=1))
    writers = [job for job in client.list(JobQuery(created=created)) if writes_to(job, output)]
    return [_whole(client, list(found.rounds)) for found in submissions_of(writers)]


def writes_to(job: BatchJob, output: Address) -> bool:
    """Whether a job writes to this table, to this folder, or to a folder below this prefix."""
    own = {str(job.output or ""), job.destination}
    wanted = str(output).rstrip("/")
    if isinstance(output, BigQueryAddress):
        return wanted in own
    return any(f"{text.rstrip('/')}/".startswith(f"{wanted}/") for text in own if text)


def created_time(store: DataStore, output: Address) -> datetime | None:
    """Return when the oldest output at an address was created; ``None`` without output."""
    if isinstance(output, GcsAddress):
        return min((blob.time_created for blob in store.files.prediction_files(output)), default=None)
    table = store.tables.find(output)
    created: datetime | None = table.created if table else None
    return created


def judged(hook: GeminiBatchHook, submission: ListedSubmission, follow_up_wait: float) -> Readiness:
    """Judge a submission by its jobs; while a follow-up may still come, by the rows of the last one as well."""
    from google.api_core.exceptions import Forbidden

    until = submission.may_go_on_until(follow_up_wait)
    if until is None or utc_now() >= until:
        return submission.readiness()
    job = submission.last
    try:
        summary = _summary(hook.store, job)
    except (ValueError, SourceNotReadyError):
        return submission.readiness()  # without the requests nothing can be sent again
    except Forbidden as error:
        rows = f"its rows cannot be read ({error.message}), and"
    else:
        # As the task decides: see jobs.rounds.EndedRound.can_be_followed and jobs.runner.BatchRun.follow_up.
        if summary is None or summary.write_follow_up is None or not summary.tally.to_retry:
            return submission.readiness()
        is_first_success = len(submission.rounds) == 1 and job.state.stage is Stage.SUCCEEDED
        if not summary.tally.answered and not is_first_success:
            return submission.readiness()
        rows = f"{summary.tally.to_retry} rows have no answer, and"
    return submission.readiness(f"{rows} a follow-up job may come until {until:%H:%M} UTC")


def tally_of(store: DataStore, submission: ListedSubmission) -> Tally:
    """Return the outcomes over all rounds of a submission that has ended; they add up to the requests of the first.

    When the requests are gone, those that came back in no row are not counted.
    """
    whole = _tally_of(store, submission.first)
    asked = whole.to_retry
    for job in submission.rounds[1:]:
        tally = _tally_of(store, job, asked)
        whole, asked = whole.followed_by(tally), tally.to_retry
    return whole


def _tally_of(store: DataStore, job: BatchJob, asked: int = 0) -> Tally:
    """Return the outcomes of one job.

    :param asked: how many rows it sent again, where its requests cannot be read any more.
    """
    try:
        if summary := _summary(store, job):
            return summary.tally
        requests = parse_requests(job.requests)
        asked = store.of(requests[0]).count_requests(requests)
    except (ValueError, SourceNotReadyError):
        if job.output and (tally := store.of(job.output).tally(job.output)):
            tally.complete(max(asked, tally.rows))
            return tally
    nothing = Tally()
    nothing.complete(asked)
    return nothing


def _summary(store: DataStore, job: BatchJob) -> OutputSummary | None:
    return store.summarize(job.output, parse_requests(job.requests)) if job.output else None
