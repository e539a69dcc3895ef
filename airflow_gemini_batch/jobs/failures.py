"""The truth about the end of a job: whether it is a success, and what a person has to know when it is not."""

from __future__ import annotations

from airflow_gemini_batch.exceptions import GeminiBatchError, JobFailedError, RowsFailedError
from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState, Stage
from airflow_gemini_batch.outputs.classify import Tally


def job_failure(
    job: BatchJob,
    tally: Tally,
    *,
    max_failed_fraction: float,
    has_result: bool = False,
    follow_up: bool = False,
    spent: str = "",
) -> GeminiBatchError | None:
    """Return the error that the end of a submission amounts to, ``None`` when it is a success.

    :param job: its last job.
    :param tally: the outcomes of its rows over all jobs, adding up to the requests.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param has_result: whether the job's rows are judged although its state is no success.
    :param follow_up: whether the job only sent again what an earlier one had not answered. The end of such a job
        is no failure as long as enough rows are answered.
    :param spent: what all jobs took, as text; empty when it is not known.
    """
    ended_well = has_result or job.state.stage is Stage.SUCCEEDED
    if lacking := _lacking(tally, max_failed_fraction):
        if ended_well:
            what = f"{end_of(job)}, but {lacking}"
            return RowsFailedError(_report(job, tally, what, _SAME_AGAIN, follow_up=follow_up, spent=spent))
    elif ended_well or follow_up:
        return None
    next_step = _after_failure(job, tally, follow_up=follow_up)
    return JobFailedError(_report(job, tally, end_of(job), next_step, follow_up=follow_up, spent=spent))


def _lacking(tally: Tally, max_failed_fraction: float) -> str:
    """Say in which way there are too few answers; empty when there are enough."""
    if tally.rows == 0:
        return "there is no output"
    if tally.answered == 0:
        return "no row holds an answer"
    if tally.failed_fraction > max_failed_fraction:
        return (
            f"{tally.failed} of {tally.rows} rows hold no answer "
            f"({tally.failed_fraction:.2%}; max_failed_fraction allows {max_failed_fraction:.2%})"
        )
    return ""


def end_of(job: BatchJob) -> str:
    """Say how a job has ended."""
    if job.state.stage is Stage.STUCK:
        return f"is {job.state.short}, a state that nobody takes it out of"
    return _END_OF.get(job.state, "succeeded")


_END_OF = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.EXPIRED: "expired: it did not start, or not finish, in the time that Vertex AI allows",
}

_SAME_AGAIN = (
    "Another try would find the same job again. Look at the rows' status in the output; then mend the requests, "
    "allow more failures, or set force_rerun=True to pay for a new job, and clear the task."
)

_SAME_FOLLOW_UP = (
    "The rows of the rounds before are kept: the next try goes on from there, and submits this follow-up again, "
    "nothing else."
)


def _after_failure(job: BatchJob, tally: Tally, *, follow_up: bool) -> str:
    if job.state.stage is Stage.STUCK:
        kept = "It may still hold resources: cancel it in the console. "
    else:
        kept = f"Its {tally.answered} finished rows are kept. " if tally.answered and not follow_up else ""
    return kept + (_SAME_FOLLOW_UP if follow_up else "The next try submits a new job.")


def _report(job: BatchJob, tally: Tally, what: str, next_step: str, *, follow_up: bool, spent: str) -> str:
    lines = [f"The {'follow-up' if follow_up else 'batch'} job {job.name} {what}."]
    if job.error:
        lines.append(f"Vertex AI says: {job.error}")
    lines.append(f"Of all {tally}." if follow_up else f"Of its {tally}.")
    lines += [f"  {sample}" for sample in tally.samples]
    if spent:
        lines.append(f"Spent: {spent}")
    if job.output:
        lines.append(f"Output: {job.output}")
    lines += [f"Console: {job.name.console_url}", next_step]
    return "\n".join(lines)


LEFT_ALONE = (
    "It was not cancelled: it may still be running, and billing. The next try looks for it and waits on, within "
    "the same limits."
)

HAS_ENDED = "It has ended, so it bills no more. The next try looks for it and takes its result."

EARLIER_ROUNDS_KEPT = (
    "It is a follow-up: the rows of the rounds before are kept, and the next try goes on from there."
)


def timeout_message(name: JobName, reason: str, what_became_of_it: str, *, follow_up: bool = False) -> str:
    """Return the message about a job that was not waited for to its end."""
    kept = f"\n{EARLIER_ROUNDS_KEPT}" if follow_up else ""
    return (
        f"Gave up waiting for the batch job {name}: {reason}.\n{what_became_of_it}{kept}\n"
        f"Console: {name.console_url}"
    )


def cancel_message(job: BatchJob, answered: int = 0, *, spent: str = "") -> str:
    """Return what became of a job that was cancelled because it was over a limit.

    :param answered: its rows with an answer.
    :param spent: what all jobs took, as text; empty when it is not known.
    """
    if job.state.stage.waits:
        return "It was asked to be cancelled, but has not ended yet, and may go on to bill."
    kept = f" Its {answered} finished rows are kept: {job.output}." if answered else ""
    end = (
        "was cancelled"
        if job.state is JobState.CANCELLED
        else "had come to another end before it was cancelled"
    )
    cost = f" Spent: {spent}." if spent else ""
    return f"It {end} ({job.state.short}).{kept}{cost} The next try submits a new job."
