"""Wait for a batch job in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_gemini_batch.core.defaults import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RUN_TIMEOUT,
)

if TYPE_CHECKING:
    from airflow_gemini_batch.jobs.polling import WaitOver
    from airflow_gemini_batch.jobs.state import JobState

EVENT_VERSION = 1


class GeminiBatchJobTrigger(BaseTrigger):
    """Poll one batch job until it ends, or until a limit is reached.

    It only asks: a trigger is started anew whenever its triggerer restarts, and may run twice at once, so it
    never creates a job. Errors of the service are reasons to ask later, not the end of the job.

    Its one event is a dict: ``version`` (1), ``outcome`` (``ended``, ``timed_out`` or ``lost``), ``job_name``,
    ``state`` (the last one seen) and ``message`` (why, unless the job ended).

    :param job_name: ``projects/P/locations/L/batchPredictionJobs/ID``.
    :param submitted_at: when the job was created, in seconds since the epoch.
    :param gcp_conn_id: the Airflow connection to ask with.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param poll_interval: longest time between two questions, in seconds.
    :param queue_timeout: how long the job may wait to start, in seconds since its creation.
    :param run_timeout: how long the job may run, in seconds since its start.
    :param cancel_on_kill: cancel the job when a user marks or clears the task; a restart of the triggerer never
        does.
    """

    def __init__(
        self,
        *,
        job_name: str,
        submitted_at: float,
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        queue_timeout: float = DEFAULT_QUEUE_TIMEOUT,
        run_timeout: float = DEFAULT_RUN_TIMEOUT,
        cancel_on_kill: bool = True,
    ) -> None:
        super().__init__()
        self.job_name = job_name
        self.submitted_at = submitted_at
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.queue_timeout = queue_timeout
        self.run_timeout = run_timeout
        self.cancel_on_kill = cancel_on_kill

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_name": self.job_name,
                "submitted_at": self.submitted_at,
                "gcp_conn_id": self.gcp_conn_id,
                "impersonation_chain": self.impersonation_chain,
                "poll_interval": self.poll_interval,
                "queue_timeout": self.queue_timeout,
                "run_timeout": self.run_timeout,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        try:
            over, state = await self._wait()
        except asyncio.CancelledError:
            from airflow_gemini_batch.version_compat import TRIGGERS_HEAR_OF_KILLS

            if not TRIGGERS_HEAR_OF_KILLS:
                await self.on_kill()
            raise
        yield TriggerEvent(
            {
                "version": EVENT_VERSION,
                "outcome": over.outcome.value,
                "job_name": self.job_name,
                "state": state.value,
                "message": over.reason,
            }
        )

    async def on_kill(self) -> None:
        """Cancel the job, if Airflow says that the task does not wait for it any more.

        Asked even where Airflow calls this for kills only: it has been called for a trigger that moved to
        another triggerer.
        """
        if not self.cancel_on_kill:
            return
        from asgiref.sync import sync_to_async

        from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
        from airflow_gemini_batch.hooks.kill import cancel_if_killed

        hook = GeminiBatchHook(self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        await sync_to_async(cancel_if_killed, thread_sensitive=False)(
            self.job_name, hook, self.task_instance, "deferred", self.log
        )

    async def _wait(self) -> tuple[WaitOver, JobState]:
        """Wait for the end, or for the end of patience, and return it with the last state seen."""
        from airflow_gemini_batch.jobs.polling import JobWait, WaitOver, WaitPolicy, utc_now
        from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState
        from airflow_gemini_batch.triggers.poller import Subscription

        name = JobName.parse(self.job_name)
        wait = JobWait(
            WaitPolicy(self.poll_interval, self.queue_timeout, self.run_timeout),
            give_up_at=datetime.fromtimestamp(self.submitted_at + self.queue_timeout + self.run_timeout, UTC),
        )
        state = JobState.UNSPECIFIED
        subscription = Subscription(
            name,
            self.gcp_conn_id,
            self.impersonation_chain,
            poll_interval=self.poll_interval,
            created=self.submitted_at,
        )
        try:
            while True:
                update = await subscription.update()
                if isinstance(update, BatchJob):
                    decision, decide_by = wait.answered(update, utc_now()), wait.decide_by(update)
                    if update.state is not state:
                        self.log.info("%s", update)
                        state = update.state
                else:
                    decision, decide_by = (
                        wait.failed(update, transient=update.transient, now=utc_now()),
                        wait.give_up_at,
                    )
                    self.log.warning("No news of %s: %s", name, update)
                if isinstance(decision, WaitOver):
                    return decision, state
                subscription.schedule_next(decision.seconds, notify_by=decide_by)
        finally:
            await subscription.unsubscribe()
