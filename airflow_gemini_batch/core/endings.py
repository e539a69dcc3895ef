"""The truth about the end of a job: whether it is a success, and what a person has to know when it is not."""

from __future__ import annotations

from airflow_gemini_batch.core.jobs import BatchJob, JobName, JobState, Stage
from airflow_gemini_batch.core.responses import Tally
from airflow_gemini_batch.exceptions import GeminiBatchError, JobFailedError, RowsFailedError


def failure_of(job: BatchJob, tally: Tally, *, max_failed_fraction: float) -> GeminiBatchError | None:
    """Return the error that a job's end amounts to, ``None`` when it is a success.

    :param tally: the outcomes of its rows, adding up to the requests.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    """
    if job.state.stage is Stage.STUCK:
        return JobFailedError(
            _report(
                job,
                tally,
                f"is {job.state.short}, a state that nobody takes it out of",
                "It may still hold resources: cancel it in the console. The next try submits a new job.",
            )
        )
    if job.state.stage is not Stage.SUCCEEDED:
        return JobFailedError(_report(job, tally, _END_OF[job.state], _after_failure(job, tally)))
    if tally.rows == 0:
        return RowsFailedError(_report(job, tally, "succeeded, but there is no output", _SAME_AGAIN))
    if tally.answered == 0:
        return RowsFailedError(_report(job, tally, "succeeded, but no row holds an answer", _SAME_AGAIN))
    if tally.failed_fraction > max_failed_fraction:
        return RowsFailedError(
            _report(
                job,
                tally,
                f"succeeded, but {tally.failed} of {tally.rows} rows hold no answer "
                f"({tally.failed_fraction:.2%}; max_failed_fraction allows {max_failed_fraction:.2%})",
                _SAME_AGAIN,
            )
        )
    return None


_END_OF = {
    JobState.FAILED: "failed",
    JobState.CANCELLED: "was cancelled",
    JobState.EXPIRED: "expired: it did not start, or not finish, in the time that Vertex AI allows",
}

_SAME_AGAIN = (
    "Another try would find the same job again. Look at the rows' status in the output; then mend the requests, "
    "allow more failures, or set force_rerun=True to pay for a new job, and clear the task."
)


def _after_failure(job: BatchJob, tally: Tally) -> str:
    kept = f"Its {tally.answered} finished rows are kept. " if tally.answered else ""
    return f"{kept}The next try submits a new job."


def _report(job: BatchJob, tally: Tally, what: str, next_step: str) -> str:
    lines = [f"The batch job {job.name} {what}."]
    if job.error:
        lines.append(f"Vertex AI says: {job.error}")
    lines.append(f"Of its {tally}.")
    lines += [f"  {sample}" for sample in tally.samples]
    if job.output:
        lines.append(f"Output: {job.output}")
    lines += [f"Console: {job.name.console_url}", next_step]
    return "\n".join(lines)


LEFT_ALONE = (
    "It was not cancelled: it may still be running, and billing. The next try looks for it and waits on, within "
    "the same limits."
)

HAS_ENDED = "It has ended, so it bills no more. The next try looks for it and takes its result."


def gave_up(name: JobName, reason: str, what_became_of_it: str) -> str:
    """Return the message about a job that was not waited for to its end."""
    return f"Gave up waiting for the batch job {name}: {reason}.\n{what_became_of_it}\nConsole: {name.console_url}"


def after_cancelling(job: BatchJob, tally: Tally) -> str:
    """Return what became of a job that was cancelled because it was over a limit."""
    if job.state.stage.waits:
        return "It was asked to be cancelled, but has not ended yet, and may go on to bill."
    kept = f" Its {tally.answered} finished rows are kept: {job.output}." if tally.answered else ""
    end = (
        "was cancelled"
        if job.state is JobState.CANCELLED
        else "had come to another end before it was cancelled"
    )
    return f"It {end} ({job.state.short}).{kept} The next try submits a new job."
