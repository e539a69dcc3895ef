"""Wait in the triggerer until a job or its output is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_gemini_batch.hooks.mixin import HookedTask

EVENT_VERSION = 1


class GeminiBatchReadinessTrigger(HookedTask, BaseTrigger):
    """Check until there is a verdict; each check runs in a thread, so the loop stays free.

    Its one event is a dict: ``version`` (1), ``readiness`` (``ready`` or ``never``), ``reason`` and ``result``
    (dict of JSON scalars, or ``None``).

    :param probe: what to check: see :func:`airflow_gemini_batch.triggers.probes.probe_to_json`.
    :param gcp_conn_id: the Airflow connection.
    :param project_id: project of the jobs and data; by default the connection's.
    :param location: location of the jobs; by default the connection's.
    :param impersonation_chain: service account to impersonate, or a chain of them.
    :param poll_interval: pause between two checks, in seconds.
    """

    def __init__(
        self,
        *,
        probe: Mapping[str, Any],
        gcp_conn_id: str,
        project_id: str | None = None,
        location: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()
        self.probe = probe
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.location = location
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "probe": dict(self.probe),
                "gcp_conn_id": self.gcp_conn_id,
                "project_id": self.project_id,
                "location": self.location,
                "impersonation_chain": self.impersonation_chain,
                "poll_interval": self.poll_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        from asgiref.sync import sync_to_async

        from airflow_gemini_batch.core.log import Changes
        from airflow_gemini_batch.jobs.polling import utc_now
        from airflow_gemini_batch.jobs.readiness import ReadinessState
        from airflow_gemini_batch.triggers.probes import check_with_retry, probe_from_json

        probe, changes = probe_from_json(self.probe), Changes()
        while True:
            check = await sync_to_async(check_with_retry, thread_sensitive=False)(probe, self.hook)
            if changes.take(check.reason, utc_now()):
                self.log.info("%s", check.reason)
            if check.state is not ReadinessState.NOT_YET:
                break
            await asyncio.sleep(self.poll_interval)
        yield TriggerEvent(
            {
                "version": EVENT_VERSION,
                "readiness": check.state.value,
                "reason": check.reason,
                "result": None if check.result is None else dict(check.result),
            }
        )
