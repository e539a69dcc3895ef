"""Whether anybody would wait for a deferred task, asked before there is a job to wait for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import TriggererMissingError
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience
from airflow_gemini_batch.version_compat import IN_PROCESS, triggerer_heartbeat


def check_triggerer(task_instance: Any, log: Log, patience: Patience = DEFAULT_PATIENCE) -> None:
    """Raise :class:`.TriggererMissingError` when no triggerer is running; what cannot be known is a warning.

    One that has just been started is waited for, and one that restarts is not missed.
    """
    missing = _why_missing(task_instance, log, patience)
    for pause in patience.triggerer_starts:
        if not missing:
            return
        log.info("No triggerer is running (%s); asking again in %g s", missing, pause)
        patience.sleep(pause)
        missing = _why_missing(task_instance, log, patience)
    if missing:
        raise TriggererMissingError(
            f"No triggerer is running ({missing}), so nobody would wait for the job. No job was created. "
            "Start one (airflow triggerer), or set deferrable=False to wait in the worker."
        )


def _why_missing(task_instance: Any, log: Log, patience: Patience) -> str:
    """Return what Airflow knows of triggerers when none is running; empty when one is, or when it does not say."""
    try:
        heartbeat = triggerer_heartbeat(task_instance)
    except LookupError as error:
        if IN_PROCESS not in error.args:
            log.warning("Could not ask Airflow whether a triggerer is running: %s", error)
        return ""
    if heartbeat is None:
        return "Airflow has never heard of one"
    if datetime.now(UTC) - heartbeat > timedelta(seconds=patience.triggerer):
        return f"Airflow last heard of one at {heartbeat:%Y-%m-%d %H:%M} UTC"
    return ""
