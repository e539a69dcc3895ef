"""The crash points of the quick level: which process is killed, and when exactly.

A point is exact in one of three ways: the process stands still there until it is killed; the server delays its
answer there, so that the process is stuck in the call; or the server's call log shows that it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_gemini_batch.testing.vertex_ai import LocalVertex
from tests.crash import children
from tests.crash.evidence import jobs_of

WORKER = "worker"
TRIGGERER = "triggerer"

# Far longer than any round: the call never comes back to the process that is killed in it.
_NEVER = 3600.0

Calls = Mapping[str, int]
"""API method → calls that arrived since the process in question was started."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One line of the table.

    :param on: the process that comes to the point.
    :param hold: the message after which the worker stands still.
    :param seen: whether that process is at the point, from what the server has seen.
    :param faults: planned on the server before the round: name → parameters.
    :param jobs: how many a run needs; the faults see to it when it is more than one.
    :param linger: longest time from the point to the kill, in seconds; each round draws its own.
    """

    name: str
    on: str
    kills: tuple[str, ...]
    hold: str = ""
    seen: Callable[[Calls, LocalVertex], bool] | None = None
    faults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    jobs: int = 1
    linger: float = 0.0


def _looking_up(calls: Calls, vertex: LocalVertex) -> bool:
    return calls["list"] > 0 and calls["create"] == 0


def _created(calls: Calls, vertex: LocalVertex) -> bool:
    return calls["create"] > 0 and len(jobs_of(vertex)) > 0


def _asking_for_follow_up(calls: Calls, vertex: LocalVertex) -> bool:
    # A worker that takes a task up again reads the job first.
    return calls["get"] > 0 and calls["create"] > 0


def _follow_up_created(calls: Calls, vertex: LocalVertex) -> bool:
    return calls["get"] > 0 and len(jobs_of(vertex)) > 1


def _polling(calls: Calls, vertex: LocalVertex) -> bool:
    return calls["get"] + calls["list"] > 0


POINTS = (
    CrashPoint(
        "worker_before_create",
        on=WORKER,
        kills=(WORKER,),
        seen=_looking_up,
        faults={"delay": {"on": "list", "seconds": _NEVER}},
    ),
    CrashPoint(
        "worker_after_create_unanswered",
        on=WORKER,
        kills=(WORKER,),
        seen=_created,
        faults={"delay_after": {"on": "create", "seconds": _NEVER}},
    ),
    CrashPoint("worker_after_create_nothing_stored", on=WORKER, kills=(WORKER,), hold=children.DEFERRING),
    CrashPoint("worker_after_deferring", on=WORKER, kills=(WORKER,), hold=children.DEFERRED),
    CrashPoint("triggerer_while_polling", on=TRIGGERER, kills=(TRIGGERER,), seen=_polling, linger=0.25),
    CrashPoint(
        "both_at_once",
        on=TRIGGERER,
        kills=(WORKER, TRIGGERER),
        hold=children.DEFERRED,
        seen=_polling,
        linger=0.25,
    ),
    CrashPoint(
        "worker_before_follow_up_create",
        on=WORKER,
        kills=(WORKER,),
        seen=_asking_for_follow_up,
        faults={
            "partly_succeed": {"share": 0.5},
            "delay": {"on": "create", "job": "* rerun *", "seconds": _NEVER},
        },
        jobs=2,
    ),
    CrashPoint(
        "worker_after_follow_up_create_unanswered",
        on=WORKER,
        kills=(WORKER,),
        seen=_follow_up_created,
        faults={
            "partly_succeed": {"share": 0.5},
            "delay_after": {"on": "create", "job": "* rerun *", "seconds": _NEVER},
        },
        jobs=2,
    ),
    CrashPoint("worker_before_result_is_stored", on=WORKER, kills=(WORKER,), hold=children.FINISHING),
)
