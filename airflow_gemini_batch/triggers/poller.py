"""One poller for all triggers of a process that wait for jobs of one project and location."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

from asgiref.sync import sync_to_async

from airflow_gemini_batch.core.defaults import DEFAULT_POLL_INTERVAL
from airflow_gemini_batch.core.log import ShownLog
from airflow_gemini_batch.exceptions import CredentialsError, JobServiceError
from airflow_gemini_batch.jobs.client import AsyncJobClient, JobPage, JobQuery, ListedJob
from airflow_gemini_batch.jobs.poll_schedule import created_between, due_at, pages_worth
from airflow_gemini_batch.jobs.polling import backoff, spread
from airflow_gemini_batch.jobs.state import BatchJob, JobName

if TYPE_CHECKING:
    from airflow_gemini_batch.triggers.subscription import Subscription

# Calls by name under way at once. When this many in a row fail, the cause is not a single job.
AT_ONCE = 16

# Triggers woken before the loop runs others: each takes some 0.1 ms, and nothing should wait for 50.
WOKEN_AT_ONCE = 100

JobUpdate = BatchJob | JobServiceError

_log = ShownLog(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True)
class Group:
    """What the jobs of one poller have in common."""

    gcp_conn_id: str
    impersonation_chain: str | tuple[str, ...] | None
    parent: str
    quota_project_id: str | None = None

    @classmethod
    def of(
        cls,
        name: JobName,
        gcp_conn_id: str,
        impersonation_chain: str | Sequence[str] | None,
        quota_project_id: str | None = None,
    ) -> Self:
        """Return the group of a job that is polled through a connection."""
        chain = impersonation_chain
        if chain is not None and not isinstance(chain, str):
            chain = tuple(chain)
        return cls(gcp_conn_id, chain, name.parent, quota_project_id)


async def connect(group: Group, name: JobName) -> AsyncJobClient:
    """Return a client for the jobs of a group; see :func:`open_client`."""
    return await open_client(
        group.gcp_conn_id,
        name,
        impersonation_chain=group.impersonation_chain,
        quota_project_id=group.quota_project_id,
    )


async def open_client(gcp_conn_id: str, name: JobName | None = None, **settings: Any) -> AsyncJobClient:
    """Return a client for the project and location of a job, or of the connection, without blocking the loop.

    Raises :class:`~airflow_gemini_batch.exceptions.CredentialsError` when the connection has none.
    """

    def connect() -> AsyncJobClient:
        # Importing the Google libraries and reading the connection both take a while, so this runs in a thread.
        from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

        return GeminiBatchHook(gcp_conn_id, **settings).get_async_conn(name)

    try:
        return await sync_to_async(connect)()
    except Exception as error:
        raise CredentialsError(
            f"cannot get credentials from the connection {gcp_conn_id!r} ({type(error).__name__}: {error})"
        ) from error


class Poller:
    """Polls all jobs of a group that triggers wait for, in one task that starts at once.

    A round lists the unfinished jobs. If many of its jobs are not listed, it also lists all jobs as old as these. It
    reads by name those that are still missing, and all jobs of a small round.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._client: AsyncJobClient | None = None
        self._list_refused = False
        self._errors = 0
        self._paused_until = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        # In a context of its own: it outlives the trigger that comes first, and must not write into its log.
        self._task = self._loop.create_task(self._poll(), context=contextvars.Context())
        self._task.add_done_callback(self._end)

    @property
    def ended(self) -> bool:
        """Whether it has stopped."""
        return self._task.done()

    def add(self, subscription: Subscription) -> None:
        """Begin to poll a job."""
        self._subscriptions.setdefault(subscription.name.job_id, []).append(subscription)

    async def remove(self, subscription: Subscription) -> None:
        """Stop polling a job; without any job left the poller ends and closes its connections."""
        subscriptions = self._subscriptions.get(subscription.name.job_id, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
        if not subscriptions:
            self._subscriptions.pop(subscription.name.job_id, None)
        if not self._subscriptions and not self.ended:
            self.stop()
            await asyncio.wait({self._task})

    def stop(self) -> None:
        """End at once; subscriptions are notified, and new ones get another poller."""
        self._retire()
        self._task.cancel()

    def wake_at(self, due: float) -> None:
        """Start the next round at that time of the loop at the latest, or when a pause after errors is over."""
        due = max(due, self._paused_until)
        if self._alarm is not None:
            if self._alarm.when() <= due:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due, self._wake.set)

    async def _poll(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._alarm = None
                open_ = due_at(self._all(), self._loop.time())
                interval = min((each.poll_interval for each in open_), default=DEFAULT_POLL_INTERVAL)
                try:
                    await self._round(open_)
                except JobServiceError as error:
                    self._errors += 1
                    self._paused_until = self._loop.time() + spread(backoff(interval, self._errors))
                    await self._notify([(subscription, error) for subscription in open_])
                else:
                    self._errors = 0
                due = min((subscription.due for subscription in self._all()), default=math.inf)
                if due < math.inf:
                    self.wake_at(due)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            if self._client is not None:
                await self._client.close()

    async def _round(self, open_: set[Subscription]) -> None:
        """Poll jobs; each that is answered leaves ``open_``.

        Raises :class:`~airflow_gemini_batch.exceptions.JobServiceError` for an error that concerns all of them.
        """
        if not open_:
            return
        if self._client is None:
            self._client = await connect(self._group, next(iter(open_)).name)
        if pages := pages_worth(len(open_)):
            await self._list(self._client, JobQuery(unfinished=True), pages, open_)
        # Many ends at once, such as after a night without a triggerer, are not in the list of the unfinished.
        if pages := pages_worth(len(open_)):
            await self._list(self._client, JobQuery(created=created_between(open_)), pages, open_)
        await self._read_by_name(self._client, open_)

    async def _list(
        self, client: AsyncJobClient, query: JobQuery, pages: int, open_: set[Subscription]
    ) -> None:
        token = ""
        while open_ and pages:
            try:
                token, changed = self._read(await client.page(query, token), open_)
            except JobServiceError as error:
                if _concerns_all(error):
                    raise
                if not self._list_refused:
                    self._list_refused = True
                    _log.warning(
                        "Could not list the jobs; polling them one by one, which costs more: %s", error
                    )
                return
            await self._notify((subscription, _read(job)) for subscription, job in changed)
            pages -= 1
            if not token:
                return

    def _read(
        self, page: JobPage, open_: set[Subscription]
    ) -> tuple[str, list[tuple[Subscription, ListedJob]]]:
        """Return the next page's token, and the jobs of the page that have changed."""
        now, wall, factor = self._loop.time(), time.time(), spread(1)
        changed: list[tuple[Subscription, ListedJob]] = []
        with no_garbage_collection():
            jobs, token = page()
            for job in jobs:
                for subscription in self._subscriptions.get(job.job_id, ()):
                    open_.discard(subscription)
                    if subscription.changed(job.progress, wall):
                        changed.append((subscription, job))
                    else:
                        subscription.reschedule(now, wall, factor)
            del jobs
        return token, changed

    async def _read_by_name(self, client: AsyncJobClient, open_: set[Subscription]) -> None:
        names = iter({subscription.name.job_id: subscription.name for subscription in open_}.values())
        failures: list[JobServiceError] = []

        async def read() -> None:
            for name in names:
                if name.job_id not in self._subscriptions:
                    continue
                update = await _get(client, name)
                if isinstance(update, JobServiceError) and _concerns_all(update):
                    failures.append(update)
                else:
                    failures.clear()
                subscriptions = self._subscriptions.get(name.job_id, [])
                open_.difference_update(subscriptions)
                await self._notify([(subscription, update) for subscription in subscriptions])
                if len(failures) >= AT_ONCE:
                    return

        async with asyncio.TaskGroup() as readers:
            for _ in range(min(AT_ONCE, len(open_))):
                readers.create_task(read())
        if len(failures) >= AT_ONCE:
            raise failures[-1]

    async def _notify(self, updates: Iterable[tuple[Subscription, JobUpdate]]) -> None:
        for count, (subscription, update) in enumerate(updates, 1):
            subscription.notify(update)
            if count % WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _all(self) -> Iterator[Subscription]:
        return chain.from_iterable(self._subscriptions.values())

    def _retire(self) -> None:
        if _pollers.get((self._loop, self._group)) is self:
            del _pollers[self._loop, self._group]

    def _end(self, task: asyncio.Task[None]) -> None:
        self._retire()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("The poller of %s has failed", self._group, exc_info=error)
        reason = f"the poller has stopped ({error or 'cancelled'})"
        for subscription in self._all():
            subscription.notify(JobServiceError(f"reading {subscription.name}: {reason}"))


_pollers: dict[tuple[asyncio.AbstractEventLoop, Group], Poller] = {}


def poller_of(group: Group) -> Poller:
    """Return the poller of a group in the running loop; makes it if there is none."""
    key = (asyncio.get_running_loop(), group)
    if key not in _pollers:
        _pollers[key] = Poller(group)
    return _pollers[key]


def _concerns_all(error: JobServiceError) -> bool:
    return error.transient or isinstance(error, CredentialsError)


async def _get(client: AsyncJobClient, name: JobName) -> JobUpdate:
    try:
        return await client.get(name)
    except JobServiceError as error:
        return error


def _read(job: ListedJob) -> JobUpdate:
    try:
        return job.read()
    except JobServiceError as error:
        return error


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python from collecting garbage while a page, thousands of dicts, comes and goes.

    The collector would take them for objects that stay, and soon search the whole process again: in a triggerer with
    10,000 triggers, half a second for every second list.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
