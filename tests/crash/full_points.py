"""The crash points of the full level: what is killed in a DAG run of three tasks, and when exactly.

Two of the tasks wait in the triggerer, one waits in its worker; see ``dags/crash_dag.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.crash.services import SCHEDULER

DAG_ID = "crash"
TASKS = ("first", "second", "in_worker")

# Stand for the workers that run a task of the run, for all triggerers, and for the first of several, which is not
# started again before the run has ended.
WORKERS = "workers"
TRIGGERERS = "triggerers"
ONE_TRIGGERER = "one triggerer"

# Longer than any round: the call never comes back to the process that is killed in it.
_NEVER = 600.0
# The triggerer takes up a deferred task within a second or two, then asks at once.
_TAKEN_UP_AFTER = 4.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be seen of a run.

    :param calls: API method → calls since the run began.
    :param count_jobs: asks the server for this run's jobs; a list call, so it must wait until none is to be struck.
    :param states: task → its state in Airflow's database.
    """

    calls: Mapping[str, int]
    count_jobs: Callable[[], int]
    states: Mapping[str, str | None]

    @property
    def all_created(self) -> bool:
        """Whether the job of each task is there, answered or not."""
        return self.calls.get("create", 0) >= len(TASKS) and self.count_jobs() >= len(TASKS)


@dataclass(frozen=True, slots=True)
class FullPoint:
    """A crash point.

    :param seen: whether the run is at the point.
    :param faults: planned before the run: name and parameters.
    :param linger: seconds from the point to the kill.
    """

    name: str
    kills: tuple[str, ...]
    seen: Callable[[Sight], bool]
    faults: Sequence[tuple[str, Mapping[str, Any]]] = field(default_factory=tuple)
    linger: float = 0.0


def _all_look_up(sight: Sight) -> bool:
    calls = sight.calls
    return calls.get("list", 0) >= len(TASKS) and not calls.get("create") and _all_run(sight)


def _all_created(sight: Sight) -> bool:
    return sight.all_created and _all_run(sight)


def _all_run(sight: Sight) -> bool:
    return all(state == "running" for state in sight.states.values())


def _deferred(sight: Sight) -> bool:
    return sight.all_created and sight.states["first"] == sight.states["second"] == "deferred"


def _everywhere(sight: Sight) -> bool:
    """One task waits in the triggerer, one stands between create and its answer, one waits in the worker."""
    states = sight.states
    return (
        sight.all_created
        and states["first"] == "deferred"
        and states["second"] == states["in_worker"] == "running"
    )


_SECOND_UNANSWERED = (("delay_after", {"on": "create", "job": f"{DAG_ID}.second *", "seconds": _NEVER}),)
_SECOND_ANSWERED_LATE = (("delay_after", {"on": "create", "job": f"{DAG_ID}.second *", "seconds": 12.0}),)

FULL_POINTS = (
    FullPoint(
        "full_workers_before_create",
        (WORKERS,),
        _all_look_up,
        (("delay", {"on": "list", "times": len(TASKS), "seconds": _NEVER}),),
    ),
    FullPoint(
        "full_workers_after_create",
        (WORKERS,),
        _all_created,
        (("delay_after", {"on": "create", "times": len(TASKS), "seconds": _NEVER}),),
    ),
    FullPoint("full_triggerer_while_polling", (TRIGGERERS,), _deferred, linger=_TAKEN_UP_AFTER),
    FullPoint(
        "full_workers_and_triggerer",
        (WORKERS, TRIGGERERS),
        _everywhere,
        _SECOND_UNANSWERED,
        linger=_TAKEN_UP_AFTER,
    ),
    FullPoint("full_one_triggerer_of_two", (ONE_TRIGGERER,), _deferred, linger=_TAKEN_UP_AFTER),
    # The workers of a scheduler that was killed live on, with their tasks, beside those of the next one.
    FullPoint("full_scheduler", (SCHEDULER,), _everywhere, _SECOND_ANSWERED_LATE),
    FullPoint("full_scheduler_and_workers", (SCHEDULER, WORKERS), _everywhere, _SECOND_UNANSWERED),
)
