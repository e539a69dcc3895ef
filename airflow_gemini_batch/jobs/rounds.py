"""The rounds of a submission: what became of the rows of each job that has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import SourceNotReadyError
from airflow_gemini_batch.jobs.follow_ups import EndedRound, RoundId
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.jobs.submission import Submission
from airflow_gemini_batch.outputs.classify import Tally
from airflow_gemini_batch.outputs.store import DataStore
from airflow_gemini_batch.outputs.summary import OutputSummary


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
        """Return the rounds up to the one of a job that has ended, first one first.

        A follow-up names the job before it in its labels, so that no other one is ever taken for it.
        """
        job_id = job.name.job_id
        if job_id not in self._known:
            after = RoundId.of(job).after
            before = self.up_to(self._read_job(replace(job.name, job_id=after))) if after else []
            self._known[job_id] = [*before, self._read(job, before)]
        return self._known[job_id]

    def _read(self, job: BatchJob, before: list[EndedRound]) -> EndedRound:
        sources = self._submission.sources_of(RoundId.of(job))
        try:
            summary = self._store.summarize(job.output, sources) if job.output else None
            if summary is None:
                nothing = Tally()
                nothing.complete(self._store.count_requests(sources))
                return EndedRound(job, sources, OutputSummary(nothing), has_output=False)
            return EndedRound(job, sources, summary, has_output=True)
        except SourceNotReadyError as error:
            # The answers are paid for and there; without the requests only the missing ones can't be counted.
            self._log.warning("Requests without any answer can't be counted: %s", error)
        found = self._store.tally(job.output) if job.output else None
        tally = found or Tally()
        count_usage = partial(self._store.usage, job.output) if job.output else dict
        if before and before[-1].can_be_followed:
            tally.complete(before[-1].tally.to_retry)
        return EndedRound(
            job, sources, OutputSummary(tally, count_usage=count_usage), has_output=found is not None
        )
