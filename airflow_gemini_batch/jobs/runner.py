"""One try of one submission: everything that an operator does between Airflow and Vertex AI."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from airflow_gemini_batch.core.labels import airflow_labels
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.models import short_model_name
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import JobLostError, JobTimeoutError, VertexApiError
from airflow_gemini_batch.jobs.client import Connection, JobClient
from airflow_gemini_batch.jobs.failures import (
    HAS_ENDED,
    LEFT_ALONE,
    cancel_message,
    end_of,
    job_failure,
    timeout_message,
)
from airflow_gemini_batch.jobs.follow_ups import EndedRound, RoundId, merged
from airflow_gemini_batch.jobs.identity import TaskRun, identity
from airflow_gemini_batch.jobs.manifest import Manifest, Round
from airflow_gemini_batch.jobs.polling import (
    SHORTEST_INTERVAL,
    AskAgain,
    JobWait,
    WaitOutcome,
    WaitOver,
    WaitPolicy,
    utc_now,
)
from airflow_gemini_batch.jobs.rounds import Rounds
from airflow_gemini_batch.jobs.spending import Spending, spent_on
from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState, Stage
from airflow_gemini_batch.jobs.submission import JobRequest, Submission
from airflow_gemini_batch.jobs.submit_once import Submitted, submit_once

# How long a cancelled job is waited for: it writes its finished rows meanwhile.
CANCELLING_PATIENCE = timedelta(minutes=10)

# A job known to have ended is asked about for this long before the try fails; the next one asks again.
FINISHING_PATIENCE = timedelta(minutes=15)


class BatchRun:
    """Submit a job or find it, wait for it, send again what it left unanswered, judge the end.

    :param first_try: whether no try of this task run came before.
    :param max_row_retries: how many follow-up jobs there may be.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param cancel_on_timeout: cancel a job that is over a limit, rather than leave it.
    :param check: looks at the first job right before it is created, and raises what keeps it from being.
    :param prices: loads the price table.
    """

    def __init__(
        self,
        submission: Submission,
        task_run: TaskRun,
        *,
        first_try: bool,
        hook: Connection,
        policy: WaitPolicy,
        max_row_retries: int,
        max_failed_fraction: float,
        cancel_on_timeout: bool,
        check: Callable[[JobRequest], None],
        prices: Callable[[], PriceTable],
        log: Log,
    ) -> None:
        self._submission = submission
        self._task_run = task_run
        self._first_try = first_try
        self._hook = hook
        self._policy = policy
        self._max_row_retries = max_row_retries
        self._max_failed_fraction = max_failed_fraction
        self._cancel_on_timeout = cancel_on_timeout
        self._check = check
        self._prices = prices
        self._log = log
        self._rounds = Rounds(submission, hook.store, self._read_ended, log)

    def submit(self, *, salt: str = "") -> Submitted:
        """Submit the first job of this task run, or find it.

        :param salt: sets a forced rerun apart from the runs before.
        """
        versions = self._hook.store.versions(self._submission.sources)
        root = identity(self._task_run, self._submission.fingerprint(versions), salt=salt)
        return self._submit(RoundId(root), self._hook.get_conn())

    def follow_up(self, job: BatchJob) -> Submitted | None:
        """Submit the follow-up of a job that has ended, or find it; ``None`` when none is due.

        It asks once more what is worth it: rows that failed in passing or did not come back. It may go on from an
        expired job, but not from one that failed or was cancelled.
        """
        last = self._rounds.up_to(job)[-1]
        if not self._may_be_followed(job) or not last.tally.to_retry:
            return None
        if not last.can_be_followed:
            if job.state.stage is Stage.SUCCEEDED and last.has_output:
                self._log.warning(
                    "%d rows are worth a follow-up job, but which ones can't be told: requests and answers have to "
                    "be both in files or both in tables, and what comes back has to tell the requests apart (key "
                    "columns that are unique, say)",
                    last.tally.to_retry,
                )
            return None
        self._log.info(
            "%d of %d rows hold no answer and are worth a follow-up job",
            last.tally.to_retry,
            last.tally.rows,
        )
        return self._submit(RoundId.of(job).next_after(job), self._hook.get_conn(job.name), last)

    def _submit(self, one: RoundId, client: JobClient, before: EndedRound | None = None) -> Submitted:
        """Submit the job of a round, or find it.

        :param before: the round whose unanswered requests the job asks again.
        """
        task_run = self._task_run
        labels = airflow_labels(task_run.dag_id, task_run.task_id, task_run.run_id)

        def make_request(attempt: int) -> JobRequest:
            request = self._submission.request(one, attempt, labels)
            if before is None:
                self._check(request)
            else:
                self._hook.store.check_destination(request.destination)
                if before.summary.write_follow_up:
                    before.summary.write_follow_up(request.sources[0])
            self._log.info("Requests: %s", ", ".join(map(str, request.sources)))
            self._log.info("Answers: %s", request.destination)
            return request

        return submit_once(
            client,
            one.identity,
            make_request,
            self._log,
            first_try=self._first_try,
            is_worth_keeping=self._has_result,
        )

    def _may_be_followed(self, job: BatchJob) -> bool:
        return RoundId.of(job).number < self._max_row_retries

    def _has_result(self, job: BatchJob) -> bool:
        """Whether there are rows to go on from, whatever the job's state says."""
        return self._may_be_followed(job) and self._rounds.up_to(job)[-1].can_be_followed

    def _read_ended(self, name: JobName) -> BatchJob:
        return self.wait(name, utc_now() + FINISHING_PATIENCE, has_ended=True)

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

        Returns the job when it has ended all the same, or came to a good end while it was being cancelled.

        Raises :class:`~airflow_gemini_batch.exceptions.JobTimeoutError`, and
        :class:`~airflow_gemini_batch.exceptions.JobLostError` for a job that can't be asked about.
        """
        if over.outcome is WaitOutcome.LOST or not self._cancel_on_timeout:
            follow_up = False
            with suppress(VertexApiError):  # asked once more: the silence may be over by now, or the job
                if (job := self._hook.get_conn(name).get(name)).state.stage.ended:
                    return job
                follow_up = _is_follow_up(job)
            message = timeout_message(
                name, over.reason, HAS_ENDED if has_ended else LEFT_ALONE, follow_up=follow_up
            )
            raise (JobLostError if over.outcome is WaitOutcome.LOST else JobTimeoutError)(message)
        job = self._cancel(name, over.reason)
        if job.state.stage is Stage.SUCCEEDED:
            self._log.warning("%s ended well while it was being cancelled", name)
            return job
        if job.state.stage.waits:
            message = cancel_message(job)
        else:
            rounds = self._rounds.up_to(job)
            message = cancel_message(job, rounds[-1].tally.answered, spent=str(self._spent_on(rounds)))
        raise JobTimeoutError(timeout_message(name, over.reason, message, follow_up=_is_follow_up(job)))

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
                timeout_message(name, reason, f"{LEFT_ALONE}\nCancelling it failed: {error}")
            ) from error
        if refusal and job.state.stage.waits:
            raise JobTimeoutError(
                timeout_message(name, reason, f"{LEFT_ALONE}\nCancelling it failed: {refusal}")
            )
        return job

    def finish(self, job: BatchJob) -> dict[str, Any]:
        """Judge the end of the last job and return the manifest as JSON; raises what the end amounts to."""
        rounds = self._rounds.up_to(job)
        tally, spending = merged(rounds), self._spent_on(rounds)
        if failure := job_failure(
            job,
            tally,
            max_failed_fraction=self._max_failed_fraction,
            has_result=self._has_result(job),
            follow_up=_is_follow_up(job),
            spent=str(spending),
        ):
            raise failure
        if job.state.stage is not Stage.SUCCEEDED:
            self._log.warning("Enough rows are answered, though the last job, %s, %s", job, end_of(job))
        for one in rounds:
            self._log.info("Answers: %s", one.job.output)
        self._log.info("%s", tally)
        told = f"; {spending}" if str(spending) else ""
        self._log.info("%s rows answered, %s asked%s", f"{tally.answered:,}", f"{tally.rows:,}", told)
        for sample in tally.samples:
            self._log.warning("Failed row: %s", sample)
        return Manifest(
            identity=RoundId.of(job).root,
            model=short_model_name(self._submission.model),
            console_url=job.name.console_url,
            counts={outcome.value: count for outcome, count in tally.counts.items()},
            rounds=tuple(
                Round.of(
                    one.job, [str(source) for source in one.sources], one.tally, has_output=one.has_output
                )
                for one in rounds
            ),
            usage={model: usage.to_json() for model, usage in spending.usage.items()},
            cost=spending.cost.to_json() if spending.cost else None,
        ).to_json()

    def _spent_on(self, rounds: Sequence[EndedRound]) -> Spending:
        return spent_on(rounds, short_model_name(self._submission.model), self._prices, self._log)


def _is_follow_up(job: BatchJob) -> bool:
    return RoundId.of(job).number > 0
