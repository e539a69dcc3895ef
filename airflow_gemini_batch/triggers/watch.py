"""How a trigger hears about its job: from the poller that it shares with all others of the same kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

from airflow_gemini_batch.core.jobs import BatchJob, JobName
from airflow_gemini_batch.core.polling import LONGEST_BACKOFF
from airflow_gemini_batch.core.rounds import Turn
from airflow_gemini_batch.triggers.poller import Group, News, poller_of


class Watch(Turn):
    """One trigger's place at the poller of its job; made and used within one event loop.

    Making it takes the place, :meth:`leave` gives it up.

    :param name: the job.
    :param gcp_conn_id: the Airflow connection to ask with.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param poll_interval: longest time between two questions about the job, in seconds.
    :param created: when the job was created, in seconds since the epoch; as good as it is known.
    """

    __slots__ = ("_group", "_news", "_poller", "_waiter", "name")

    def __init__(
        self,
        name: JobName,
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None,
        *,
        poll_interval: float,
        created: float,
    ) -> None:
        super().__init__(poll_interval, created)
        self.name = name
        self._group = Group.of(name, gcp_conn_id, impersonation_chain)
        self._news: News | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poller = poller_of(self._group)
        self._poller.add(self)
        self.begin(asyncio.get_running_loop().time())
        self._poller.look_at(self.due)

    async def news(self) -> News:
        """Wait until there is an answer about the job that differs from the last one, or none to be had.

        An error is returned, not raised, since it may be the same one for many waits.
        """
        while self._news is None:
            # The poller keeps the time. This is for one that hangs: it is stopped, which is news.
            longest = max(self.tell_by - time.time(), 0) + 2 * max(LONGEST_BACKOFF, self.poll_interval)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(longest):
                    await self._waiter
            except TimeoutError:
                self._poller.stop()
            finally:
                self._waiter = None
        news, self._news = self._news, None
        return news

    def ask_again(self, seconds: float, *, tell_by: datetime) -> None:
        """Go on after news.

        :param seconds: when to ask again.
        :param tell_by: when to be told even though nothing has changed.
        """
        if self._poller.ended:
            self._poller = poller_of(self._group)
            self._poller.add(self)
        self.tell_by = tell_by.timestamp()
        self.pause(asyncio.get_running_loop().time(), seconds)
        self._poller.look_at(self.due)

    async def leave(self) -> None:
        """Want no more news; the last one to leave ends the poller and closes its connections."""
        await self._poller.remove(self)

    def tell(self, news: News) -> None:
        """Wake the trigger; called by the poller."""
        self.suspend()
        if not isinstance(news, BatchJob):
            self.forget()
        elif news.create_time is not None:
            self.created = news.create_time.timestamp()
        self._news = news
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
