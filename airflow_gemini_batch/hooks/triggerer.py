"""Whether anybody would wait for a deferred task, asked before there is a job to wait for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import TriggererMissingError
from airflow_gemini_batch.version_compat import IN_PROCESS, triggerer_heartbeat


def check_triggerer(task_instance: Any, log: Log, *, longest_silence: float) -> None:
    """Raise :class:`.TriggererMissingError` when no triggerer is running; what cannot be known is a warning.

    :param longest_silence: how long a triggerer may be silent, in seconds: one that restarts takes the task over.
    """
    try:
        heartbeat = triggerer_heartbeat(task_instance)
    except LookupError as error:
        if IN_PROCESS not in error.args:
            log.warning("Could not ask Airflow whether a triggerer is running: %s", error)
        return
    if heartbeat is None:
        heard = "Airflow has never heard of one"
    elif datetime.now(UTC) - heartbeat > timedelta(seconds=longest_silence):
        heard = f"Airflow last heard of one at {heartbeat:%Y-%m-%d %H:%M} UTC"
    else:
        return
    raise TriggererMissingError(
        f"No triggerer is running ({heard}), so nobody would wait for the job. No job was created. "
        "Start one (airflow triggerer), or set deferrable=False to wait in the worker."
    )
