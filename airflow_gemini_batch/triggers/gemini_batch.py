"""Wait for a batch job in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_gemini_batch.core.defaults import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RUN_TIMEOUT,
)
from airflow_gemini_batch.exceptions import as_invalid_request
from airflow_gemini_batch.hooks.mixin import ShownTexts
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience

if TYPE_CHECKING:
    from airflow_gemini_batch.jobs.polling import WaitOver
    from airflow_gemini_batch.jobs.state import JobState

EVENT_VERSION = 1


class GeminiBatchJobTrigger(ShownTexts, BaseTrigger):
    """Poll one batch job until it ends, or until a limit is reached.

    It only reads: a trigger starts again whenever its triggerer restarts, and may run twice at once, so it never
    creates a job. After an error of the service it asks again later.

    Its one event is a dict: ``version`` (1), ``outcome`` (``ended``, ``timed_out`` or ``lost``), ``job_name``,
    ``state`` (the last one seen) and ``message`` (why, unless the job ended).

    :param job_name: ``projects/P/locations/L/batchPredictionJobs/ID``.
    :param submitted_at: when the job was created, in seconds since the epoch.
    :param gcp_conn_id: the Airflow connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param quota_project_id: project whose quota the calls count against; by default the connection's.
    :param poll_interval: longest pause between two questions, in seconds.
    :param queue_timeout: how long the job may wait to start, in seconds since its creation.
    :param run_timeout: how long the job may run, in seconds since its start.
    :param cancel_on_kill: cancel the job when a user marks or clears the task; a restart of the triggerer never
        does.
    """

    patience: ClassVar[Patience] = DEFAULT_PATIENCE

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
        quota_project_id: str | None = None,
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
        self.quota_project_id = quota_project_id

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
                # Left out where it is not set, so that a release before this argument reads the trigger as well.
                **({"quota_project_id": self.quota_project_id} if self.quota_project_id else {}),
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
        """Cancel the job if Airflow says that the task no longer waits for it.

        It asks Airflow even though Airflow calls this for kills only: it has also done so for a trigger that moved to
        another triggerer.
        """
        if not self.cancel_on_kill:
            return
        from asgiref.sync import sync_to_async

        from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
        from airflow_gemini_batch.hooks.kill import cancel_if_killed

        hook = GeminiBatchHook(
            self.gcp_conn_id,
            impersonation_chain=self.impersonation_chain,
            quota_project_id=self.quota_project_id,
        )
        await sync_to_async(cancel_if_killed, thread_sensitive=False)(
            self.job_name, hook, self.task_instance, "deferred", self.log
        )

    async def _wait(self) -> tuple[WaitOver, JobState]:
        """Wait for the end of the job or of the wait, and return it with the last state seen."""
        from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
        from airflow_gemini_batch.jobs.polling import JobWait, WaitOver, WaitPolicy
        from airflow_gemini_batch.triggers.subscription import Subscription

        policy = WaitPolicy(self.poll_interval, self.queue_timeout, self.run_timeout)
        give_up_at = datetime.fromtimestamp(self.submitted_at + policy.longest, UTC)
        with as_invalid_request("job_name"):
            name = GeminiBatchHook.job_name(self.job_name)
        wait = JobWait(name, policy, give_up_at, self.patience)
        subscription = Subscription(
            wait.name,
            self.gcp_conn_id,
            self.impersonation_chain,
            quota_project_id=self.quota_project_id,
            poll_interval=self.poll_interval,
            created=self.submitted_at,
            patience=self.patience,
        )
        try:
            while True:
                update = await subscription.update()
                decision = wait.take(update, self.log)
                if isinstance(decision, WaitOver):
                    return decision, wait.state
                subscription.schedule_next(decision.seconds, notify_by=wait.decide_by(update))
        finally:
            await subscription.unsubscribe()
