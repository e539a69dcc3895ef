"""Runs of a DAG that overlap: a later one does not pay for what an earlier one has just asked.

Two runs that build the same requests submit the same content. The job of the first carries a digest of it, and the
second waits for that job instead of creating one: both have the whole result, and landing it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from airflow_gemini_batch.core.labels import CONTENT_LABEL, RUN_LABEL, airflow_labels
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import JobServiceError
from airflow_gemini_batch.jobs.client import JobClient, JobQuery
from airflow_gemini_batch.jobs.identity import RoundId, TaskRun
from airflow_gemini_batch.jobs.ownership import Versions, differences
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.jobs.state import BatchJob, Stage
from airflow_gemini_batch.jobs.submission import Submission
from airflow_gemini_batch.jobs.submit_once import Submitted, age

OLDEST = timedelta(days=14)
"""Age of the oldest job that is looked at: a job ends within four days, each of its follow-ups as well."""


class OtherRuns:
    """The jobs of other runs of a task that ask the same.

    :param content: digest of what is asked.
    :param since: when this run began; a job that has ended since then is taken as well. ``None``: only jobs under way.
    """

    def __init__(
        self,
        client: JobClient,
        submission: Submission,
        task_run: TaskRun,
        content: str,
        versions: Versions,
        *,
        since: datetime | None,
        log: Log,
    ) -> None:
        self._client = client
        self._submission = submission
        labels = airflow_labels(task_run.dag_id, task_run.task_id, task_run.run_id)
        self._run = labels.pop(RUN_LABEL, "")
        self._labels = {**labels, CONTENT_LABEL: content}
        self._versions = versions
        self._since = since
        self._log = log

    def job(self) -> BatchJob | None:
        """Return the oldest job of another run that this one can wait for; ``None`` without one."""
        job = next(iter(self._jobs()), None)
        if job:
            self._log.warning(
                "The run %s has asked exactly the same: waiting for its job instead of paying for another one: %s\n%s\n"
                "Set max_active_runs=1 if runs of this DAG should not overlap",
                job.labels.get(RUN_LABEL),
                job,
                job.name.console_url,
            )
        return job

    def settle(self, created: BatchJob) -> Submitted:
        """Give up a job just created if another run created one for the same content a moment before."""
        try:
            older = next((job for job in self._jobs() if age(job) < age(created)), None)
        except JobServiceError as error:
            self._log.warning(
                "Could not check whether another run asked the same at the same moment: %s", error
            )
            older = None
        if older is None:
            return Submitted(created, adopted=False)
        self._log.warning(
            "The run %s asked exactly the same a moment before: cancelling %s and waiting for %s",
            older.labels.get(RUN_LABEL),
            created,
            older,
        )
        try:
            self._client.cancel(created.name)
        except JobServiceError as error:
            self._log.error(
                "Could not cancel %s. It bills unless it has ended by now: %s", created.name, error
            )
        return Submitted(older, adopted=True)

    def _jobs(self) -> Sequence[BatchJob]:
        """Return the jobs that this run can wait for, oldest first."""
        now = utc_now()
        query = JobQuery(labels=self._labels, created=(now - OLDEST, now + timedelta(days=1)))
        found = [
            job
            for job in self._client.list(query)
            # A filter that the service did not apply must not hand us another job.
            if self._labels.items() <= job.labels.items()
            and job.labels.get(RUN_LABEL) != self._run
            and self._overlaps(job)
            and not differences(self._submission, RoundId.of(job), self._versions, job)
        ]
        return sorted(found, key=age)

    def _overlaps(self, job: BatchJob) -> bool:
        if job.state.stage in (Stage.QUEUED, Stage.RUNNING):
            return True
        ended = job.end_time
        return (
            job.state.stage is Stage.SUCCEEDED
            and ended is not None
            and self._since is not None
            and ended >= self._since
        )
