"""How a submission has ended: whether it succeeded, and the message for a person when it did not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from airflow_gemini_batch.core.summary import Summary
from airflow_gemini_batch.exceptions import GeminiBatchError, JobFailedError, RowsFailedError
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState, Stage
from airflow_gemini_batch.outputs.classify import Tally

_NOTHING_KNOWN = Summary("")


def job_failure(
    job: BatchJob,
    tally: Tally,
    *,
    max_failed_fraction: float,
    needs_answers: bool = True,
    has_result: bool = False,
    follow_up: bool = False,
    summary: Summary = _NOTHING_KNOWN,
) -> GeminiBatchError | None:
    """Return the error of a submission that has ended; returns ``None`` for a success.

    :param job: its last job.
    :param tally: the outcomes of its rows over all jobs, adding up to the requests.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param needs_answers: whether a job that succeeded without any answer counts as a failure.
    :param has_result: whether its rows are judged although its state is not a success.
    :param follow_up: whether the job only sent again what an earlier one had not answered. However such a job ends,
        the submission succeeds when enough rows are answered.
    :param summary: of all jobs; the error's text is this one, with what has happened and what to do.
    """
    succeeded = has_result or job.state.stage is Stage.SUCCEEDED
    named = f"The {'follow-up' if follow_up else 'batch'} job"
    if job.error:
        summary = replace(summary, error=str(job.error))
    if shortage := _shortage(tally, max_failed_fraction, needs_answers=needs_answers or not succeeded):
        if succeeded:
            headline = f"{named} {end_of(job)}, but {shortage}."
            return RowsFailedError.of(replace(summary, headline=headline, next_step=_SAME_AGAIN))
    elif succeeded or follow_up:
        return None
    again = fails_again(job.error, job.requests) if job.state is JobState.FAILED else ""
    next_step = again or _after_failure(job, tally, follow_up=follow_up)
    failed = replace(summary, headline=f"{named} {end_of(job)}.", next_step=next_step)
    return JobFailedError.of(failed, retryable=not again)


_FAILS_AGAIN = {
    # INVALID_ARGUMENT: requests that cannot be imported, a wrong parameter, a dataset in another region.
    3: "the requests, the parameters or the places of the job are wrong",
    # NOT_FOUND: the model, say.
    5: "something that the job names does not exist",
    # OUT_OF_RANGE, UNIMPLEMENTED: nothing that time changes.
    11: "a value is out of range",
    12: "the service does not do this",
}
"""Codes of a failed job after which the same job would fail again, each with the reason.

After all others a new job is worth a try: the service failed temporarily (1 CANCELLED, 2 UNKNOWN, 4 DEADLINE_EXCEEDED,
8 RESOURCE_EXHAUSTED, 10 ABORTED, 13 INTERNAL, 14 UNAVAILABLE, 15 DATA_LOSS), its accounts and our roles are still being
set up (7 PERMISSION_DENIED, 9 FAILED_PRECONDITION, 16 UNAUTHENTICATED), or the next job gets another output (6
ALREADY_EXISTS). Codes: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
"""

_NOT_IMPORTED = "Failed to import data"
# The import is a job of BigQuery, so its errors in passing come with code 3 as well.
_SAYS_LATER = re.compile(
    r"try again|retry|being (created|provisioned)|temporar|unavailable"
    r"|(rate limit|quota) exceeded|exceeded (rate|quota)|too many"
    r"|timed out|deadline|internal error|backend error|overloaded",
    re.IGNORECASE,
)


def fails_again(error: JobError | None, requests: Sequence[str] = ()) -> str:
    """Return why the same job would fail again, as the end of a message; empty when another one is worth a try.

    :param requests: addresses of the job's requests.
    """
    if error is None or _SAYS_LATER.search(error.message):
        return ""
    not_imported = error.message.startswith(_NOT_IMPORTED)
    # Without a code, the text says enough.
    reason = _FAILS_AGAIN.get(3 if not_imported and not error.code else error.code)
    if reason is None:
        return ""
    check = ""
    if not_imported and any(address.startswith("gs://") for address in requests):
        check = " `gemini-batch validate --all FILE` names the line of a request file that can't be imported."
    return (
        f"A new job would fail in the same way: {reason}. So the task is not retried.{check} Correct what the error "
        "names, and clear the task."
    )


def _shortage(tally: Tally, max_failed_fraction: float, *, needs_answers: bool) -> str:
    """Return why there are too few answers; empty when there are enough."""
    if tally.rows == 0:
        return "there is no output"
    if tally.answered == 0 and needs_answers:
        return "no row has an answer"
    if tally.failed_fraction > max_failed_fraction:
        return (
            f"{tally.failed} of {tally.rows} rows have no answer "
            f"({tally.failed_fraction:.2%}; max_failed_fraction allows {max_failed_fraction:.2%})"
        )
    return ""


def end_of(job: BatchJob) -> str:
    """Return how a job has ended, as the end of a sentence."""
    if job.state.stage is Stage.STUCK:
        return f"is {job.state.short}, and nobody resumes such a job"
    return _END_OF.get(job.state, "succeeded")


_END_OF = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.EXPIRED: "expired: it did not start or finish within the time limit of the service",
}

_SAME_AGAIN = (
    "Another try finds the same job again. Read the status of the rows in the output. Then fix the requests, allow "
    "more failures, or set force_rerun=True to pay for a new job, and clear the task."
)

_SAME_FOLLOW_UP = (
    "The answers of the earlier rounds are kept. The next try submits only this follow-up again."
)


def _after_failure(job: BatchJob, tally: Tally, *, follow_up: bool) -> str:
    if job.state.stage is Stage.STUCK:
        kept = "It may still hold resources. Cancel it in the console. "
    else:
        kept = f"Its {tally.answered} finished rows are kept. " if tally.answered and not follow_up else ""
    return kept + (_SAME_FOLLOW_UP if follow_up else "The next try submits a new job.")


LEFT_RUNNING = (
    "It was not cancelled. It may still be running and billing. The next try finds it and waits for it, within the "
    "same limits."
)

HAS_ENDED = "It has ended and no longer bills. The next try finds it and takes its result."


def timeout_summary(summary: Summary, reason: str, now: str, *, follow_up: bool = False) -> Summary:
    """Return the summary of a job whose end was not waited for.

    :param summary: of the job and those before it, as far as they have been read.
    :param now: what the job's state is now, and what the next try does.
    """
    job = "follow-up job" if follow_up else "batch job"
    kept = "The answers of the earlier rounds are kept. " if follow_up else ""
    headline = f"Stopped waiting for the {job}: {reason.rstrip('.')}."
    return replace(summary, headline=headline, next_step=f"{kept}{now}")


def cancel_message(job: BatchJob, answered: int = 0) -> str:
    """Return how a job has ended that was cancelled because it was over a limit, and what the next try does.

    :param answered: its rows with an answer.
    """
    if job.state.stage.waits:
        return "Its cancellation was requested, but it has not ended yet and may still bill."
    kept = f" Its {answered} finished rows are kept." if answered else ""
    end = "was cancelled" if job.state is JobState.CANCELLED else "ended otherwise before it was cancelled"
    return f"It {end} ({job.state.short}).{kept} The next try submits a new job."
