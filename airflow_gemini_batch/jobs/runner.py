"""One try of one submission: everything that an operator does between Airflow and the service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.core.labels import CONTENT_LABEL, RUN_LABEL, airflow_labels, names, run_labels
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.summary import JobSummary, Summary
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import ForeignJobError, JobLostError, JobServiceError, JobTimeoutError
from airflow_gemini_batch.jobs.client import Connection, JobClient
from airflow_gemini_batch.jobs.failures import (
    HAS_ENDED,
    LEFT_RUNNING,
    cancel_message,
    job_failure,
    timeout_summary,
)
from airflow_gemini_batch.jobs.finished import Finished, ended_summary, finished
from airflow_gemini_batch.jobs.identity import RoundId, TaskRun, identity
from airflow_gemini_batch.jobs.overlap import OtherRuns
from airflow_gemini_batch.jobs.ownership import differences
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience
from airflow_gemini_batch.jobs.polling import (
    SHORTEST_INTERVAL,
    AskAgain,
    JobWait,
    WaitOutcome,
    WaitOver,
    WaitPolicy,
    utc_now,
)
from airflow_gemini_batch.jobs.rounds import EndedRound, Rounds, merged
from airflow_gemini_batch.jobs.spending import CeilingReachedError, Spending, check_follow_up, spent_on
from airflow_gemini_batch.jobs.state import BatchJob, JobName, Stage
from airflow_gemini_batch.jobs.submission import JobRequest, Submission
from airflow_gemini_batch.jobs.submit_once import Submitted, foreign_message, submit_once


class BatchRun:
    """Submit a job or find it, wait for it, send again what it left unanswered, judge the end.

    :param first_try: whether no try of this task run came before.
    :param max_row_retries: how many follow-up jobs there may be.
    :param max_failed_fraction: share of rows, 0 to 1, that may be without an answer.
    :param needs_answers: whether a job without any answer fails, whatever that share is.
    :param max_cost_usd: what a job and its follow-ups may cost together, in US dollars; ``None`` for no limit. The
        first job is compared by ``check``.
    :param allow_unpriced: let a follow-up pass although a model has no price.
    :param cancel_on_timeout: cancel a job that is over a limit, rather than leave it.
    :param check: checks the first job right before it is created; raises to prevent that.
    :param prices: loads the price table.
    :param logical_date: of the DAG run, if it has one.
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
        needs_answers: bool = True,
        max_cost_usd: float | None = None,
        allow_unpriced: bool = False,
        cancel_on_timeout: bool,
        check: Callable[[JobRequest], None],
        prices: Callable[[], PriceTable],
        log: Log,
        patience: Patience = DEFAULT_PATIENCE,
        logical_date: datetime | None = None,
    ) -> None:
        self._submission = submission
        self._task_run = task_run
        self._first_try = first_try
        self._hook = hook
        self._policy = policy
        self._max_row_retries = max_row_retries
        self._max_failed_fraction = max_failed_fraction
        self._needs_answers = needs_answers
        self._max_cost_usd = max_cost_usd
        self._allow_unpriced = allow_unpriced
        self._cancel_on_timeout = cancel_on_timeout
        self._check = check
        self._prices = prices
        self._log = log
        self._patience = patience
        self._run_labels = run_labels(logical_date, task_run.map_index, max_row_retries)
        self._rounds = Rounds(submission, hook.store, self.read_ended, log)

    def submit(self, *, salt: str = "", since: datetime | None = None) -> Submitted:
        """Submit the first job of this task run, or find it; or find the job of an overlapping run that asks the same.

        :param salt: what a forced rerun adds to the identity; it does not look at other runs.
        :param since: when the DAG run began; jobs of other runs that had ended before are not looked at.
        """
        client = self._hook.get_conn()
        versions = self._versions(self._submission.requests)
        root = identity(self._task_run, self._submission.fingerprint(versions), salt=salt)
        content = self._submission.content(versions)
        if salt:
            return self._submit(RoundId(root), client, content=content)
        others = OtherRuns(
            client, self._submission, self._task_run, content, self._versions, since=since, log=self._log
        )
        submitted = self._submit(RoundId(root), client, content=content, stand_in=others.job)
        return submitted if submitted.adopted else others.settle(submitted.job)

    def check_own(self, job: BatchJob) -> None:
        """Raise :class:`.ForeignJobError` for a job that is not of this submission, whoever named it."""
        if found := differences(self._submission, RoundId.of(job), self._versions, job):
            raise ForeignJobError(
                foreign_message(
                    job,
                    found,
                    "Either the task was changed while it waited, or somebody named another job. The job was neither "
                    "read nor cancelled, and keeps running if it has not ended. Undo the change and clear the task to "
                    f"take its answers, or clear the task to submit a new job\nConsole: {job.name.console_url}",
                )
            )

    def is_of_another_run(self, job: BatchJob) -> bool:
        """Whether another run created a job, and may still wait for it."""
        return RUN_LABEL in job.labels and not names(job.labels, None, None, self._task_run.run_id)

    def _versions(self, requests: Sequence[Address]) -> Sequence[str]:
        return self._hook.store.of(requests[0]).versions(requests)

    def follow_up(self, job: BatchJob) -> Submitted | None:
        """Submit the follow-up of a job that has ended, or find it; returns ``None`` when none is needed.

        It sends again the rows that failed for a passing reason or did not come back. It may follow an expired job,
        but not one that failed or was cancelled, nor a follow-up that has answered nothing.
        """
        rounds = self._rounds.up_to(job)
        last = rounds[-1]
        if not self._may_be_followed(job) or not last.tally.to_retry:
            return None
        if not last.can_be_followed:
            if job.state.stage is Stage.SUCCEEDED and last.has_output:
                self._log.warning(
                    "%d rows could be sent again, but the answers do not show which ones. Requests and answers have to "
                    "be both in files or both in tables, and each answer needs a unique key (key columns, say)",
                    last.tally.to_retry,
                )
            return None
        if _is_follow_up(job) and not last.tally.answered:
            self._log.warning(
                "%d rows have no answer, and the last follow-up job has answered none of its rows. They are not sent "
                "again",
                last.tally.to_retry,
            )
            return None
        self._log.info(
            "%d of %d rows have no answer; sending them again in a follow-up job",
            last.tally.to_retry,
            last.tally.rows,
        )
        try:
            return self._submit(RoundId.of(job).next_after(job), self._hook.get_conn(job.name), rounds)
        except CeilingReachedError as error:
            self._log.warning("%s", error)
            return None

    def _submit(
        self,
        round_: RoundId,
        client: JobClient,
        rounds: Sequence[EndedRound] = (),
        *,
        content: str = "",
        stand_in: Callable[[], BatchJob | None] = lambda: None,
    ) -> Submitted:
        """Submit the job of a round, or find it.

        :param rounds: all rounds before it; the job sends again the unanswered requests of the last one.
        :param content: digest of what the first job asks.
        :param stand_in: finds a job of another run to wait for instead.

        Raises :class:`~airflow_gemini_batch.jobs.spending.CeilingReachedError` for a follow-up that does not exist yet
        and would cost too much.
        """
        before = rounds[-1] if rounds else None
        task_run = self._task_run
        labels = airflow_labels(task_run.dag_id, task_run.task_id, task_run.run_id) | self._run_labels
        if content:
            labels[CONTENT_LABEL] = content

        def make_request(attempt: int) -> JobRequest:
            request = self._submission.request(round_, attempt, labels)
            if before is None:
                self._check(request)
            else:
                if self._max_cost_usd is not None:
                    check_follow_up(
                        self._spent_on(rounds),
                        before.tally.to_retry,
                        self._max_cost_usd,
                        allow_unpriced=self._allow_unpriced,
                    )
                self._hook.store.of(request.destination).check_destination(request.destination)
                if before.summary.write_follow_up:
                    before.summary.write_follow_up(request.requests[0])
            self._log.info("Requests: %s", ", ".join(map(str, request.requests)))
            self._log.info("Answers: %s", request.destination)
            return request

        return submit_once(
            client,
            round_.identity,
            make_request,
            self._log,
            first_try=self._first_try,
            is_worth_keeping=self._has_result,
            differences=partial(differences, self._submission, round_, self._versions),
            stand_in=stand_in,
            patience=self._patience,
        )

    def _may_be_followed(self, job: BatchJob) -> bool:
        return RoundId.of(job).number < self._max_row_retries

    def _has_result(self, job: BatchJob) -> bool:
        """Whether a follow-up may build on the job's rows, whatever its state says."""
        return self._may_be_followed(job) and self._rounds.up_to(job)[-1].can_be_followed

    def read_ended(self, name: JobName) -> BatchJob:
        """Return a job that is known to have ended; raises what :meth:`after_timeout` raises."""
        return self._wait(name, utc_now() + timedelta(seconds=self._patience.ended), has_ended=True)

    def wait(self, job: BatchJob) -> BatchJob:
        """Wait here until the job has ended, and return it; raises what :meth:`after_timeout` raises."""
        created = job.create_time or utc_now()
        return self._wait(job.name, created + timedelta(seconds=self._policy.longest))

    def _wait(self, name: JobName, give_up_at: datetime, *, has_ended: bool = False) -> BatchJob:
        wait = JobWait(name, self._policy, give_up_at, self._patience)
        client = self._hook.get_conn(name)
        while True:
            update: BatchJob | JobServiceError
            try:
                update = client.get(name)
            except JobServiceError as error:
                update = error
            decision = wait.take(update, self._log)
            if isinstance(decision, AskAgain):
                self._patience.sleep(decision.seconds)
            elif isinstance(update, BatchJob) and decision.outcome is WaitOutcome.ENDED:
                return update
            else:
                return self.after_timeout(name, decision, has_ended=has_ended)

    def after_timeout(self, name: JobName, over: WaitOver, *, has_ended: bool = False) -> BatchJob:
        """Cancel or leave a job that has not ended in time.

        Returns the job when it has ended after all, or succeeded while it was being cancelled.

        Raises :class:`~airflow_gemini_batch.exceptions.JobTimeoutError`, and
        :class:`~airflow_gemini_batch.exceptions.JobLostError` for a job whose state cannot be read.
        """
        if over.outcome is WaitOutcome.LOST or not self._cancel_on_timeout:
            follow_up = False
            with suppress(JobServiceError):  # by now the service may answer again, or the job may have ended
                if (job := self._hook.get_conn(name).get(name)).state.stage.ended:
                    return job
                follow_up = _is_follow_up(job)
            now = HAS_ENDED if has_ended else LEFT_RUNNING
            error = JobLostError if over.outcome is WaitOutcome.LOST else JobTimeoutError
            raise error.of(timeout_summary(_named(name), over.reason, now, follow_up=follow_up))
        job = self._cancel(name, over.reason)
        if job.state.stage is Stage.SUCCEEDED:
            self._log.warning("%s succeeded while it was being cancelled", name)
            return job
        if job.state.stage.waits:
            summary, now = _named(name), cancel_message(job)
        else:
            rounds = self._rounds.up_to(job)
            summary = self._summary(rounds, self._spent_on(rounds))
            now = cancel_message(job, rounds[-1].tally.answered)
        raise JobTimeoutError.of(timeout_summary(summary, over.reason, now, follow_up=_is_follow_up(job)))

    def _cancel(self, name: JobName, reason: str) -> BatchJob:
        """Cancel a job and wait until it has ended, so that its finished rows are written."""
        client = self._hook.get_conn(name)
        self._log.warning("Cancelling %s: %s", name, reason)
        deadline = utc_now() + timedelta(seconds=self._patience.cancelling)
        refusal: JobServiceError | None = None
        with suppress(JobServiceError):
            self.check_own(client.get(name))
        try:
            try:
                client.cancel(name)
            except JobServiceError as error:
                refusal = error  # the job may have ended at this very moment
            while (job := client.get(name)).state.stage.waits and utc_now() < deadline:
                if refusal:
                    raise refusal
                self._patience.sleep(min(self._policy.poll_interval, SHORTEST_INTERVAL))
        except JobServiceError as error:
            now = f"{LEFT_RUNNING}\nCould not cancel it: {error}"
            raise JobTimeoutError.of(timeout_summary(_named(name), reason, now)) from error
        return job

    def finish(self, job: BatchJob) -> Finished:
        """Return the result after the last job; raises the error of a submission that did not succeed."""
        rounds = self._rounds.up_to(job)
        tally, spending = merged(rounds), self._spent_on(rounds)
        summary = self._summary(rounds, spending)
        if failure := job_failure(
            job,
            tally,
            max_failed_fraction=self._max_failed_fraction,
            needs_answers=self._needs_answers,
            has_result=self._has_result(job),
            follow_up=_is_follow_up(job),
            summary=summary,
        ):
            raise failure
        return finished(
            job,
            rounds,
            spending,
            summary,
            self._submission,
            needs_answers=self._needs_answers,
            max_row_retries=self._max_row_retries,
        )

    def _summary(self, rounds: Sequence[EndedRound], spending: Spending) -> Summary:
        return ended_summary(rounds, spending, self._submission.family)

    def _spent_on(self, rounds: Sequence[EndedRound]) -> Spending:
        return spent_on(rounds, self._submission.model, self._prices, self._log)


def _named(name: JobName) -> Summary:
    """Return what is known of a job that can't be read."""
    return Summary("", jobs=[JobSummary(str(name), "", name.console_url)])


def _is_follow_up(job: BatchJob) -> bool:
    return RoundId.of(job).number > 0
