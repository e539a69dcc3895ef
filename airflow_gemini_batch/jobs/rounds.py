"""The rounds of a submission: the row outcomes of its job and of each follow-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.jobs.identity import RoundId
from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState, Stage
from airflow_gemini_batch.jobs.submission import Submission
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.store import DataStore
from airflow_gemini_batch.outputs.summary import OutputSummary


@dataclass(frozen=True, slots=True)
class EndedRound:
    """One round whose job has ended.

    :param requests: addresses of its requests.
    :param summary: their outcomes.
    :param has_output: whether the job's output exists.
    """

    job: BatchJob
    requests: Sequence[Address]
    summary: OutputSummary
    has_output: bool

    @property
    def tally(self) -> Tally:
        """The outcomes of its requests."""
        return self.summary.tally

    @property
    def can_be_followed(self) -> bool:
        """Whether a follow-up may ask for the rows that this round left unanswered.

        It may after an expired job with answers as well, but not after one that failed or was cancelled: somebody has
        to look at the reason first.
        """
        if self.summary.write_follow_up is None:
            return False
        expired = self.job.state is JobState.EXPIRED and self.tally.answered > 0
        return expired or self.job.state.stage is Stage.SUCCEEDED


def merged(rounds: Sequence[EndedRound]) -> Tally:
    """Return the outcomes over all rounds, in their order; they add up to the requests of the first."""
    return reduce(Tally.followed_by, (ended.tally for ended in rounds))


class Rounds:
    """Reads the rounds of a submission from its jobs and their outputs.

    :param read_job: reads a job that is known to have ended.
    """

    def __init__(
        self, submission: Submission, store: DataStore, read_job: Callable[[JobName], BatchJob], log: Log
    ) -> None:
        self._submission = submission
        self._store = store
        self._read_job = read_job
        self._log = log
        # The output of a job that has ended does not change, and may take minutes to read.
        self._known: dict[str, list[EndedRound]] = {}

    def up_to(self, job: BatchJob) -> list[EndedRound]:
        """Return the rounds up to the one of a job that has ended, in their order.

        A follow-up names the job before it in its labels, so no other job is ever taken for it.
        """
        job_id = job.name.job_id
        if job_id not in self._known:
            after = RoundId.of(job).after
            before = self.up_to(self._read_job(job.name.sibling(after))) if after else []
            self._known[job_id] = [*before, self._read(job, before)]
        return self._known[job_id]

    def _read(self, job: BatchJob, before: list[EndedRound]) -> EndedRound:
        requests = self._submission.requests_of(RoundId.of(job))
        try:
            summary = self._store.summarize(job.output, requests) if job.output else None
            if summary is not None:
                return EndedRound(job, requests, summary, has_output=True)
            nothing = Tally()
            nothing.complete(self._store.of(requests[0]).count_requests(requests))
            return EndedRound(job, requests, OutputSummary(nothing), has_output=False)
        except SourceNotReadyError as error:
            # The answers are paid for and there; without the requests only the missing rows stay unknown.
            self._log.warning("Requests without an answer cannot be counted: %s", error)
        answers = self._store.of(job.output).tally(job.output) if job.output else None
        tally = answers or Tally()
        count_usage = partial(self._store.of(job.output).usage, job.output) if job.output else dict
        if before and before[-1].can_be_followed:
            tally.complete(before[-1].tally.to_retry)
        summary = OutputSummary(tally, count_usage=count_usage)
        return EndedRound(job, requests, summary, has_output=answers is not None)
