"""One try of one submission: everything that an operator does between Airflow and Vertex AI."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from airflow_gemini_batch.core.endings import HAS_ENDED, LEFT_ALONE, after_cancelling, failure_of, gave_up
from airflow_gemini_batch.core.identity import TaskRun, identity
from airflow_gemini_batch.core.jobs import BatchJob, JobName, JobState, Stage
from airflow_gemini_batch.core.labels import IDENTITY_LABEL, airflow_labels
from airflow_gemini_batch.core.manifest import Manifest, Round
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.core.polling import (
    SHORTEST_INTERVAL,
    AskAgain,
    JobWait,
    WaitOutcome,
    WaitOver,
    WaitPolicy,
    utc_now,
)
from airflow_gemini_batch.core.responses import Tally
from airflow_gemini_batch.core.submission import JobRequest, Submission
from airflow_gemini_batch.exceptions import JobLostError, JobTimeoutError, SourceNotReadyError, VertexApiError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.vertex.submit import Log, Submitted, submit_once

# How long a cancelled job is waited for: it writes its finished rows meanwhile.
CANCELLING_PATIENCE = timedelta(minutes=10)

# A job known to have ended is asked about for this long before the try fails; the next one asks again.
FINISHING_PATIENCE = timedelta(minutes=15)


class BatchRun:
    """Submit a job or find it, wait for it, judge its end.

    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param cancel_on_timeout: cancel a job that is over a limit, rather than leave it.
    """

    def __init__(
        self,
        submission: Submission,
        *,
        hook: GeminiBatchHook,
        policy: WaitPolicy,
        max_failed_fraction: float,
        cancel_on_timeout: bool,
        log: Log,
    ) -> None:
        self._submission = submission
        self._hook = hook
        self._policy = policy
        self._max_failed_fraction = max_failed_fraction
        self._cancel_on_timeout = cancel_on_timeout
        self._log = log

    def submit(self, task_run: TaskRun, *, first_try: bool = True, salt: str = "") -> Submitted:
        """Submit the job of this task run, or find it.

        :param first_try: whether no try of this task run came before.
        :param salt: sets a forced rerun apart from the runs before.
        """
        submission = self._submission
        versions = self._hook.store.versions(submission.sources)
        own_identity = identity(task_run, submission.fingerprint(versions), salt=salt)
        labels = airflow_labels(task_run.dag_id, task_run.task_id, task_run.run_id)

        def make_request(attempt: int) -> JobRequest:
            request = submission.request(own_identity, attempt, labels)
            self._hook.store.check_destination(request.destination)
            self._log.info("Requests: %s", ", ".join(map(str, request.sources)))
            self._log.info("Answers: %s", request.destination)
            return request

        return submit_once(self._hook.get_conn(), own_identity, make_request, self._log, first_try=first_try)

    def wait(self, name: JobName, give_up_at: datetime, *, has_ended: bool = False) -> BatchJob:
        """Wait here until the job has ended, and return it; raises what :meth:`after_timeout` raises.

        :param give_up_at: when to stop asking even though no answer comes.
        :param has_ended: whether the job is known to have ended, and just has to be read once more.
        """
        wait = JobWait(self._policy, give_up_at)
        client = self._hook.get_conn(name)
        state: JobState | None = None
        while True:
            try:
                job = client.get(name)
            except VertexApiError as error:
                self._log.warning("No news of %s: %s", name, error)
                decision = wait.failed(error, transient=error.transient, now=utc_now())
            else:
                decision = wait.answered(job, utc_now())
                if job.state is not state:
                    self._log.info("%s", job)
                    state = job.state
            if isinstance(decision, AskAgain):
                time.sleep(decision.seconds)
            elif decision.outcome is WaitOutcome.ENDED:
                return job
            else:
                return self.after_timeout(name, decision, has_ended=has_ended)

    def after_timeout(self, name: JobName, over: WaitOver, *, has_ended: bool = False) -> BatchJob:
        """Deal with a job that has not ended in time: cancel it or leave it, as asked for.

        Returns the job when it came to a good end all the same while it was being cancelled.

        Raises :class:`~airflow_gemini_batch.exceptions.JobTimeoutError`, and
        :class:`~airflow_gemini_batch.exceptions.JobLostError` for a job that can't be asked about.
        """
        if over.outcome is WaitOutcome.LOST:
            with suppress(VertexApiError):  # asked once more: the silence may be over by now
                if (job := self._hook.get_conn(name).get(name)).state.stage.ended:
                    return job
            raise JobLostError(gave_up(name, over.reason, HAS_ENDED if has_ended else LEFT_ALONE))
        if not self._cancel_on_timeout:
            raise JobTimeoutError(gave_up(name, over.reason, LEFT_ALONE))
        job = self._cancel(name, over.reason)
        if job.state.stage is Stage.SUCCEEDED:
            self._log.warning("%s ended well while it was being cancelled", name)
            return job
        raise JobTimeoutError(gave_up(name, over.reason, after_cancelling(job, self._tally(job))))

    def _cancel(self, name: JobName, reason: str) -> BatchJob:
        """Cancel a job and wait until it has ended, so that its finished rows are written."""
        client = self._hook.get_conn(name)
        self._log.warning("Cancelling %s: %s", name, reason)
        deadline = utc_now() + CANCELLING_PATIENCE
        refusal: VertexApiError | None = None
        try:
            try:
                client.cancel(name)
            except VertexApiError as error:
                refusal = error  # it may have ended in this very moment
            while (job := client.get(name)).state.stage.waits and not refusal and utc_now() < deadline:
                time.sleep(min(self._policy.poll_interval, SHORTEST_INTERVAL))
        except VertexApiError as error:
            raise JobTimeoutError(
                gave_up(name, reason, f"{LEFT_ALONE}\nCancelling it failed: {error}")
            ) from error
        if refusal and job.state.stage.waits:
            raise JobTimeoutError(gave_up(name, reason, f"{LEFT_ALONE}\nCancelling it failed: {refusal}"))
        return job

    def finish(self, job: BatchJob) -> dict[str, Any]:
        """Judge a job that has ended and return the manifest as JSON; raises what its end amounts to."""
        tally = self._tally(job)
        if failure := failure_of(job, tally, max_failed_fraction=self._max_failed_fraction):
            raise failure
        self._log.info("Answers: %s", job.output)
        self._log.info("%s", tally)
        for sample in tally.samples:
            self._log.warning("Failed row: %s", sample)
        one = Round.of(job, [str(source) for source in self._submission.sources], tally)
        return Manifest(
            identity=job.labels.get(IDENTITY_LABEL, ""),
            model=short_model_name(self._submission.model),
            console_url=job.name.console_url,
            counts=one.counts,
            rounds=(one,),
        ).to_json()

    def _tally(self, job: BatchJob) -> Tally:
        store, sources = self._hook.store, self._submission.sources
        try:
            tally = store.account(job.output, sources) if job.output else None
            if tally is None:
                tally = Tally()
                tally.complete(store.count_requests(sources))
        except SourceNotReadyError as error:
            # The answers are paid for and there; without the requests only the missing ones can't be counted.
            self._log.warning("Requests without any answer can't be counted: %s", error)
            tally = (store.tally(job.output) if job.output else None) or Tally()
        return tally
