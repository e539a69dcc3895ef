"""One poller for all the triggers of a process that wait for jobs of one project and location."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from airflow_gemini_batch.core.defaults import DEFAULT_POLL_INTERVAL
from airflow_gemini_batch.exceptions import CredentialsError, VertexApiError
from airflow_gemini_batch.jobs.poll_schedule import (
    PollTimer,
    created_filter,
    pages_worth,
    ripe,
    unfinished_filter,
)
from airflow_gemini_batch.jobs.polling import LONGEST_BACKOFF, backoff, spread
from airflow_gemini_batch.jobs.state import BatchJob, JobName
from airflow_gemini_batch.triggers.connect import connect
from airflow_gemini_batch.vertex import rest as wire

if TYPE_CHECKING:
    from airflow_gemini_batch.vertex.async_client import AsyncBatchJobClient


# Questions by name under way at once; so many in a row without an answer are not the single jobs' fault.
AT_ONCE = 16

# Triggers woken before others on the loop get their turn: each takes some 0.1 ms, and nobody should wait for 50.
WOKEN_AT_ONCE = 100

JobUpdate = BatchJob | VertexApiError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Group:
    """What jobs have in common that one poller asks about."""

    gcp_conn_id: str
    impersonation_chain: str | tuple[str, ...] | None
    project: str
    location: str

    @classmethod
    def of(cls, name: JobName, gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None) -> Self:
        """Return the group of a job that is asked about with a connection."""
        chain = impersonation_chain
        if chain is not None and not isinstance(chain, str):
            chain = tuple(chain)
        return cls(gcp_conn_id, chain, name.project, name.location)


class Poller:
    """Asks about all watched jobs of a group, in one task that starts at once.

    A round reads the list of unfinished jobs; when many are not in it, also that of all jobs as old as these;
    who is still missing is asked about by name, as are the few of a small round.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._client: AsyncBatchJobClient | None = None
        self._page_size = wire.LARGE_PAGE_SIZE
        self._list_refused = False
        self._errors = 0
        self._rest_until = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._rung = asyncio.Event()
        # In a context of its own: it outlives the trigger that comes first, and must not write into its log.
        self._task = self._loop.create_task(self._poll(), context=contextvars.Context())
        self._task.add_done_callback(self._tell_of_the_end)

    @property
    def ended(self) -> bool:
        """Whether it asks no more."""
        return self._task.done()

    def add(self, subscription: Subscription) -> None:
        """Begin to ask about a job."""
        self._subscriptions.setdefault(subscription.name.job_id, []).append(subscription)

    async def remove(self, subscription: Subscription) -> None:
        """Cease to ask about a job; without any left the poller ends and closes its connections."""
        subscriptions = self._subscriptions.get(subscription.name.job_id, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
        if not subscriptions:
            self._subscriptions.pop(subscription.name.job_id, None)
        if not self._subscriptions and not self.ended:
            self.stop()
            await asyncio.wait({self._task})

    def stop(self) -> None:
        """End at once; whoever is still waiting hears of it, and whoever comes now gets another poller."""
        self._retire()
        self._task.cancel()

    def look_at(self, due: float) -> None:
        """Have the next round at that time of the loop at the latest, unless the service is given a rest."""
        due = max(due, self._rest_until)
        if self._alarm is not None:
            if self._alarm.when() <= due:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due, self._rung.set)

    async def _poll(self) -> None:
        try:
            while True:
                await self._rung.wait()
                self._rung.clear()
                self._alarm = None
                open_ = ripe(self._all(), self._loop.time())
                interval = min(
                    (subscription.poll_interval for subscription in open_), default=DEFAULT_POLL_INTERVAL
                )
                try:
                    await self._round(open_)
                except VertexApiError as error:
                    self._errors += 1
                    self._rest_until = self._loop.time() + spread(backoff(interval, self._errors))
                    await self._notify([(subscription, error) for subscription in open_])
                else:
                    self._errors = 0
                due = min((subscription.due for subscription in self._all()), default=math.inf)
                if due < math.inf:
                    self.look_at(due)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            if self._client is not None:
                await self._client.close()

    async def _round(self, open_: set[Subscription]) -> None:
        """Ask about jobs; each that is answered leaves ``open_``.

        Raises :class:`~airflow_gemini_batch.exceptions.VertexApiError` for what concerns all of them.
        """
        if not open_:
            return
        if self._client is None:
            one = next(iter(open_)).name
            self._client = await connect(one, self._group.gcp_conn_id, self._group.impersonation_chain)
        if pages := pages_worth(len(open_)):
            await self._list(self._client, unfinished_filter(), pages, open_)
        # Many ends at once, such as after a night without a triggerer: not in the list of the unfinished.
        if pages := pages_worth(len(open_)):
            await self._list(self._client, created_filter(open_), pages, open_)
        await self._ask_by_name(self._client, open_)

    async def _list(
        self, client: AsyncBatchJobClient, filter_: str, pages: int, open_: set[Subscription]
    ) -> None:
        token = ""
        while open_ and pages:
            try:
                page = await client.page(filter_, token, self._page_size)
                token, changed = self._read(page, open_)
            except VertexApiError as error:
                if error.code == 400 and self._page_size > wire.PAGE_SIZE:
                    self._page_size = wire.PAGE_SIZE
                    continue
                if _concerns_all(error):
                    raise
                if not self._list_refused:
                    self._list_refused = True
                    _log.warning("Jobs are asked about one by one, which costs far more: %s", error)
                return
            await self._notify(
                (subscription, _update_of(subscription, resource)) for subscription, resource in changed
            )
            pages -= 1
            if not token:
                return

    def _read(
        self, page: wire.Page, open_: set[Subscription]
    ) -> tuple[str, list[tuple[Subscription, Mapping[str, Any]]]]:
        """Return the next page's token, and the jobs about which a page has news."""
        now, wall, factor = self._loop.time(), time.time(), spread(1)
        changed: list[tuple[Subscription, Mapping[str, Any]]] = []
        with _garbage_left_alone():
            resources, token = page.read()
            while resources:
                resource = resources.pop()
                # The list names the project by its number, whoever asks may do so by its id: the rest is the same.
                for subscription in self._subscriptions.get(resource["name"].rpartition("/")[2], ()):
                    open_.discard(subscription)
                    if subscription.changed(resource, wall):
                        changed.append((subscription, resource))
                    else:
                        subscription.reschedule(now, wall, factor)
        return token, changed

    async def _ask_by_name(self, client: AsyncBatchJobClient, open_: set[Subscription]) -> None:
        names = iter({subscription.name.job_id: subscription.name for subscription in open_}.values())
        in_vain: list[VertexApiError] = []

        async def ask() -> None:
            for name in names:
                if name.job_id not in self._subscriptions:
                    continue
                update = await _get(client, name)
                if isinstance(update, VertexApiError) and _concerns_all(update):
                    in_vain.append(update)
                else:
                    in_vain.clear()
                subscriptions = self._subscriptions.get(name.job_id, [])
                open_.difference_update(subscriptions)
                await self._notify([(subscription, update) for subscription in subscriptions])
                if len(in_vain) >= AT_ONCE:
                    return

        async with asyncio.TaskGroup() as askers:
            for _ in range(min(AT_ONCE, len(open_))):
                askers.create_task(ask())
        if len(in_vain) >= AT_ONCE:
            raise in_vain[-1]

    async def _notify(self, updates: Iterable[tuple[Subscription, JobUpdate]]) -> None:
        for count, (subscription, update) in enumerate(updates, 1):
            subscription.notify(update)
            if count % WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _all(self) -> Iterator[Subscription]:
        return (
            subscription for subscriptions in self._subscriptions.values() for subscription in subscriptions
        )

    def _retire(self) -> None:
        if _pollers.get((self._loop, self._group)) is self:
            del _pollers[self._loop, self._group]

    def _tell_of_the_end(self, task: asyncio.Task[None]) -> None:
        self._retire()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("The poller of %s has failed", self._group, exc_info=error)
        for subscription in self._all():
            subscription.notify(
                VertexApiError(
                    f"reading {subscription.name}: the poller has stopped ({error or 'cancelled'})"
                )
            )


_pollers: dict[tuple[asyncio.AbstractEventLoop, Group], Poller] = {}


def poller_of(group: Group) -> Poller:
    """Return the poller that asks about a group in the running loop, a new one if there is none."""
    key = (asyncio.get_running_loop(), group)
    if key not in _pollers:
        _pollers[key] = Poller(group)
    return _pollers[key]


def _concerns_all(error: VertexApiError) -> bool:
    return error.transient or isinstance(error, CredentialsError)


async def _get(client: AsyncBatchJobClient, name: JobName) -> JobUpdate:
    try:
        return await client.get(name)
    except VertexApiError as error:
        return error


def _update_of(subscription: Subscription, resource: Mapping[str, Any]) -> JobUpdate:
    try:
        return BatchJob.from_json(resource)
    except (ValueError, TypeError, AttributeError) as error:
        return VertexApiError(
            f"reading {subscription.name} in the list: it can't be read ({error})", code=200
        )


@contextlib.contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Keep Python from looking for garbage while a page, thousands of dicts, comes and goes without any.

    It would take them for objects that stay, and soon search all of the process again: in a triggerer with
    10,000 triggers, half a second for every second list.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Subscription(PollTimer):
    """One trigger's place at the poller of its job; made and used within one event loop.

    Making it takes the place, :meth:`unsubscribe` gives it up.

    :param name: the job.
    :param gcp_conn_id: the Airflow connection to ask with.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param poll_interval: longest time between two questions about the job, in seconds.
    :param created: when the job was created, in seconds since the epoch; as good as it is known.
    """

    __slots__ = ("_group", "_poller", "_update", "_waiter", "name")

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
        self._update: JobUpdate | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._poller = poller_of(self._group)
        self._poller.add(self)
        self.begin(asyncio.get_running_loop().time())
        self._poller.look_at(self.due)

    async def update(self) -> JobUpdate:
        """Wait until there is an answer about the job that differs from the last one, or none to be had.

        An error is returned, not raised, since it may be the same one for many waits.
        """
        while self._update is None:
            # The poller keeps the time. This is for one that hangs: it is stopped, which is news.
            longest = max(self.notify_by - time.time(), 0) + 2 * max(LONGEST_BACKOFF, self.poll_interval)
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
        """Go on after news.

        :param seconds: when to ask again.
        :param tell_by: when to be told even though nothing has changed.
        """
        if self._poller.ended:
            self._poller = poller_of(self._group)
            self._poller.add(self)
        self.notify_by = notify_by.timestamp()
        self.pause(asyncio.get_running_loop().time(), seconds)
        self._poller.look_at(self.due)

    async def unsubscribe(self) -> None:
        """Want no more news; the last one to leave ends the poller and closes its connections."""
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
