"""One trigger's subscription to the poller of its job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience
from airflow_gemini_batch.jobs.poll_schedule import PollTimer
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.triggers.poller import Group, JobUpdate, poller_of


class Subscription(PollTimer):
    """One trigger's subscription to its job; made and used within one event loop.

    It begins when it is made and ends with :meth:`unsubscribe`.

    :param name: the job.
    :param gcp_conn_id: the Airflow connection.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param quota_project_id: project whose quota the calls count against; by default the connection's.
    :param poll_interval: longest pause between two questions about the job, in seconds.
    :param created: when the job was created, in seconds since the epoch, as far as it is known.
    :param patience: how long a poller that hangs is waited for.
    """

    __slots__ = ("_group", "_poller", "_silence", "_update", "_waiter", "name")

    def __init__(
        self,
        name: JobName,
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None,
        *,
        quota_project_id: str | None = None,
        poll_interval: float,
        created: float,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        super().__init__(poll_interval, created)
        self.name = name
        self._silence = 2 * max(patience.poller, poll_interval)
        self._group = Group.of(name, gcp_conn_id, impersonation_chain, quota_project_id)
        self._update: JobUpdate | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poller = poller_of(self._group)
        self._poller.add(self)
        self.begin(asyncio.get_running_loop().time())
        self._poller.wake_at(self.due)

    async def update(self) -> JobUpdate:
        """Wait for the next change of the job, or for an error, and return it.

        An error is not raised, since many waits may share it.
        """
        while self._update is None:
            # The poller keeps the time. A poller that hangs is stopped, which gives an update.
            longest = max(self.notify_by - time.time(), 0) + self._silence
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(longest):
                    await self._waiter
            except TimeoutError:
                self._poller.stop()
            finally:
                self._waiter = None
        update, self._update = self._update, None
        return update

    def schedule_next(self, seconds: float, *, notify_by: datetime) -> None:
        """Continue after an update.

        :param seconds: pause before the next question.
        :param notify_by: when to get an update even if nothing has changed.
        """
        if self._poller.ended:
            self._poller = poller_of(self._group)
            self._poller.add(self)
        self.notify_by = notify_by.timestamp()
        self.pause(asyncio.get_running_loop().time(), seconds)
        self._poller.wake_at(self.due)

    async def unsubscribe(self) -> None:
        """End the subscription; the last one of a poller ends it and closes its connections."""
        await self._poller.remove(self)

    def notify(self, update: JobUpdate) -> None:
        """Wake the trigger; called by the poller."""
        self.suspend()
        if not isinstance(update, BatchJob):
            self.forget()
        elif update.create_time is not None:
            self.created = update.create_time.timestamp()
        self._update = update
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
