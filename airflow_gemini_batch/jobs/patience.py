"""How long to wait where the state of a job is unknown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Pauses and limits where the state of a job is unknown; all in seconds.

    Operators and triggers have theirs in the class attribute ``patience``.

    :param before_create: pauses of a retry that finds no job, before it looks again: an earlier try may have died
        with its create call on the way, or before the list showed the job.
    :param after_create: pauses after a create call without a readable answer, before each look for the job: a new
        job can take a moment to appear in the list.
    :param refused_create: pauses after a create call that was refused for the moment (429, no connection), before it is
        sent again; then the task fails, for Airflow to retry it.
    :param refusals: how long to go on asking when the service answers "no" (401, 403, 404), not "not now": new jobs
        are not visible everywhere at once, and a role taken away by mistake comes back.
    :param cancelling: how long a cancelled job is waited for: it writes its finished rows meanwhile.
    :param ended: how long to ask for a job that is known to have ended; the next try asks again.
    :param poller: how long the triggerer's poller may be silent, counted twice from when it should have answered,
        before another one takes over; never less than the poll interval.
    :param triggerer: how long all triggerers may be silent before a task that would need one fails.
    :param triggerer_starts: pauses before a task asks again whether a triggerer is running, which may just be starting.
    :param sleep: how a worker pauses.
    """

    before_create: tuple[float, ...] = (2.0, 4.0, 8.0)
    after_create: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
    refused_create: tuple[float, ...] = (2.0, 8.0)
    refusals: float = 900.0
    cancelling: float = 600.0
    ended: float = 900.0
    poller: float = 300.0
    triggerer: float = 300.0
    triggerer_starts: tuple[float, ...] = (5.0, 10.0, 15.0)
    sleep: Callable[[float], None] = time.sleep


DEFAULT_PATIENCE = Patience()
