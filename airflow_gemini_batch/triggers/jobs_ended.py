"""Watch for the ends of batch jobs, for Airflow's assets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_gemini_batch.core.defaults import DEFAULT_CONNECTION, DEFAULT_POLL_INTERVAL
from airflow_gemini_batch.core.settings import check_seconds
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError, as_invalid_request
from airflow_gemini_batch.hooks.mixin import ShownTexts
from airflow_gemini_batch.version_compat import HAS_ASSET_WATCHERS, BaseEventTrigger, asset_state

_MOST_REMEMBERED = 1000
"""Jobs that Airflow keeps as told; of earlier ones it tells again after a restart."""

_LONGEST_LOOK_BACK = 30 * 86400.0


class GeminiBatchJobsEndedTrigger(ShownTexts, BaseEventTrigger):
    """Fire for each batch job with certain labels that ends, whoever submitted it.

    For ``AssetWatcher``, so it needs Airflow 3. It only reads, and after an error of the service it asks again later.
    All of a triggerer with the same connection, project and location share one client and one list call.

    Each job is told **at least once**. When the triggerer starts, the jobs that ended within ``look_back`` are told:
    so none is missed that ended meanwhile, unless the triggerer was away for longer. Airflow 3.3 keeps which jobs were
    told for an asset (the last 1,000; for a trigger that several assets share it can't); elsewhere those within
    ``look_back`` are told again after each start. ``job_name`` in the event shows that it is the same.

    Each event is a dict: ``version`` (1), ``job_name``, ``state``, ``display_name``, ``labels``, ``create_time``,
    ``start_time``, ``end_time`` (ISO 8601), ``successful_count``, ``failed_count``, ``incomplete_count``, ``output``
    and ``error``; what is not known is ``None``. A follow-up job is a job of its own.

    :param labels: labels that the jobs carry, at least one: ``{"team": "search"}``.
    :param location: location of the jobs; by default the connection's.
    :param gcp_conn_id: the Airflow connection.
    :param project_id: project of the jobs; by default the connection's.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param quota_project_id: project whose quota the calls count against; by default the connection's.
    :param poll_interval: pause between two questions, in seconds.
    :param look_back: how long ago a job may have ended when the triggerer starts, in seconds.
    """

    def __init__(
        self,
        *,
        labels: Mapping[str, str] | str,
        location: str | None = None,
        gcp_conn_id: str = DEFAULT_CONNECTION,
        project_id: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        quota_project_id: str | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        look_back: float = 86400.0,
    ) -> None:
        if not HAS_ASSET_WATCHERS:
            raise GeminiBatchError(
                "GeminiBatchJobsEndedTrigger needs Airflow 3: before, assets have no watchers."
            )
        super().__init__()
        given = _labels(labels)
        _check(given, poll_interval, look_back)
        self.labels: dict[str, str] = dict(sorted(given.items()))
        self.location = location
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.impersonation_chain = impersonation_chain
        self.quota_project_id = quota_project_id
        self.poll_interval = poll_interval
        self.look_back = look_back

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again; Airflow finds it by them."""
        chain = self.impersonation_chain
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                # As text: Airflow 3.2 stores a dict in a form that its triggerer does not read.
                "labels": json.dumps(self.labels),
                "location": self.location,
                "gcp_conn_id": self.gcp_conn_id,
                "project_id": self.project_id,
                "impersonation_chain": chain if chain is None or isinstance(chain, str) else list(chain),
                "quota_project_id": self.quota_project_id,
                "poll_interval": self.poll_interval,
                "look_back": self.look_back,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event for each job that ends, without an end."""
        from airflow_gemini_batch.core.log import Changes
        from airflow_gemini_batch.exceptions import JobServiceError
        from airflow_gemini_batch.jobs.polling import backoff, spread, utc_now
        from airflow_gemini_batch.jobs.watch import JobWatch, ended_event
        from airflow_gemini_batch.triggers.watched_jobs import Place, ended_jobs

        chain = self.impersonation_chain
        place = Place(
            self.gcp_conn_id,
            self.project_id,
            self.location,
            chain if chain is None or isinstance(chain, str) else tuple(chain),
            self.quota_project_id,
        )
        watch = JobWatch(self.labels, timedelta(seconds=self.look_back))
        kept = await self._kept()
        watch.remember(kept, utc_now())
        changes, errors = Changes(), 0
        async with ended_jobs(place, watch) as jobs:
            while True:
                answer = await jobs.ask(max_age=self.poll_interval / 2)
                if isinstance(answer, JobServiceError):
                    errors += 1
                    if changes.take((type(answer), answer.code, answer.reason), utc_now()):
                        self.log.warning("Could not list the jobs that are watched; asking again: %s", answer)
                    await asyncio.sleep(spread(backoff(self.poll_interval, errors)))
                    continue
                if errors:
                    self.log.info("The jobs that are watched can be listed again")
                    changes, errors = Changes(), 0
                for job in watch.take(answer, utc_now()):
                    self.log.info("%s has ended", job)
                    yield TriggerEvent(ended_event(job))
                await asyncio.sleep(spread(self.poll_interval))
                # Only now: Airflow stores events a moment after it has taken them.
                if (told := watch.told[-_MOST_REMEMBERED:]) != kept:
                    kept = told
                    await self._keep(told)

    async def _kept(self) -> list[str]:
        """Return the ids of jobs that were told before this trigger started, as far as Airflow keeps them."""
        if (store := getattr(self, "asset_state_store", None)) is None:
            return []
        try:
            return list(map(str, await asset_state(store, "get", self._key) or ()))
        except Exception as error:
            self.log.warning("Airflow does not say which jobs were told; some are told again: %s", error)
            return []

    async def _keep(self, told: Sequence[str]) -> None:
        if (store := getattr(self, "asset_state_store", None)) is None:
            return
        try:
            await asset_state(store, "set", self._key, list(told))
        except Exception as error:
            self.log.warning("Airflow can't keep which jobs were told; a restart tells them again: %s", error)
            self.asset_state_store = None

    @property
    def _key(self) -> str:
        """The name under which Airflow keeps the jobs: an asset may have several watchers."""
        watched = json.dumps([self.labels, self.project_id, self.location]).encode()
        return f"gemini_batch_told_{hashlib.sha256(watched).hexdigest()[:16]}"


def _labels(labels: Any) -> Any:
    """Return labels that were stored as text."""
    try:
        return json.loads(labels) if isinstance(labels, str) else labels
    except ValueError:
        return labels


def _check(labels: object, poll_interval: object, look_back: object) -> None:
    if (
        not isinstance(labels, Mapping)
        or not labels
        or not all(isinstance(text, str) for item in labels.items() for text in item)
    ):
        raise InvalidRequestError(f"labels: expected a dict with one label or more, got {labels!r}")
    for name, seconds, longest in (
        ("poll_interval", poll_interval, 86400.0),
        ("look_back", look_back, _LONGEST_LOOK_BACK),
    ):
        with as_invalid_request():
            check_seconds(name, seconds, longest)
