"""Misbehaviour on request: which faults of the table are planned, and when they strike.

A fault is planned before it strikes, in the same process or over HTTP, for a number of strikes, for a time,
or until it is cleared. Faults of a job are handed to the job when it is created and stay with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from types import EllipsisType
from typing import Any

from airflow_gemini_batch.testing.vertex_ai.errors import CODES
from airflow_gemini_batch.testing.vertex_ai.fault_table import FAULTS, Kind, Strikes


@dataclass(frozen=True, slots=True)
class Fault:
    """A planned fault.

    :param on: the API method that it strikes; empty for faults of a job.
    :param job: pattern with ``*`` for the display name of the jobs that it strikes; calls other than
        create are matched by the display name of the job that they name, list by nothing.
    """

    id: str
    name: str
    on: str
    job: str
    parameters: Mapping[str, Any]

    def __getitem__(self, parameter: str) -> Any:
        return self.parameters[parameter]


@dataclass(slots=True)
class _Plan:
    fault: Fault
    skip: int
    left: int | None
    deadline: float | None

    def shown(self) -> dict[str, Any]:
        """Describe what is still planned, for a reader over HTTP."""
        fault = self.fault
        return {
            "id": fault.id,
            "name": fault.name,
            "on": fault.on,
            "job": fault.job,
            "parameters": dict(fault.parameters),
            "skip": self.skip,
            "times": self.left,
        }


class Faults:
    """The faults still to strike. Safe to use from any thread."""

    def __init__(self) -> None:
        self._plans: list[_Plan] = []
        self._ids = count(1)
        self._lock = threading.Lock()

    def plan(
        self,
        name: str,
        *,
        on: str | None = None,
        times: int | EllipsisType | None = ...,
        skip: int = 0,
        for_seconds: float | None = None,
        job: str = "*",
        **parameters: Any,
    ) -> Fault:
        """Plan a fault of :data:`FAULTS`.

        :param on: API method to strike; the kind's first one unless given.
        :param times: strikes before it is spent; ``None`` is until cleared.
        :param skip: chances to strike that are let pass first.
        :param for_seconds: strikes only within this time from now.
        :param job: pattern for the display name of the job.
        :param parameters: as the table names them.

        Raises :class:`ValueError` for a name or a parameter that the table does not know.
        """
        kind = FAULTS.get(name)
        if kind is None:
            raise ValueError(f"no fault is called {name!r}; there are: {', '.join(sorted(FAULTS))}")
        if on is not None and on not in kind.on:
            raise ValueError(f"fault {name!r} can't strike {on!r}, only {list(kind.on) or 'jobs'}")
        _check_parameters(name, kind, parameters)
        target = on or (kind.on[0] if kind.on else "")
        with self._lock:
            fault = Fault(str(next(self._ids)), name, target, job, {**kind.parameters, **parameters})
            left = kind.times if times is ... else times
            deadline = None if for_seconds is None else time.monotonic() + for_seconds
            self._plans.append(_Plan(fault, skip, left, deadline))
        return fault

    def clear(self, fault_id: str | None = None) -> None:
        """Forget one planned fault, or all."""
        with self._lock:
            self._plans = [plan for plan in self._plans if fault_id not in (None, plan.fault.id)]

    def planned(self) -> list[dict[str, Any]]:
        """Return the plan as JSON: id, name, on, job, parameters, strikes to skip and left."""
        with self._lock:
            return [plan.shown() for plan in self._plans]

    def strike_call(self, method: str, display_name: str) -> list[Fault]:
        """Return the faults that strike this call; they count as having struck."""
        return self._strike(Strikes.CALL, method, display_name)

    def strike_job(self, display_name: str) -> tuple[Fault, ...]:
        """Return the faults that a job of this name is born with; they count as having struck."""
        return tuple(self._strike(Strikes.JOB, "", display_name))

    def _strike(self, strikes: Strikes, method: str, display_name: str) -> list[Fault]:
        struck = []
        now = time.monotonic()
        with self._lock:
            self._plans = [plan for plan in self._plans if plan.deadline is None or now <= plan.deadline]
            for plan in list(self._plans):
                fault = plan.fault
                if FAULTS[fault.name].strikes is not strikes or fault.on != method:
                    continue
                if not fnmatchcase(display_name, fault.job):
                    continue
                if plan.skip:
                    plan.skip -= 1
                else:
                    struck.append(fault)
                    self._spend(plan)
        return struck

    def _spend(self, plan: _Plan) -> None:
        if plan.left is not None:
            plan.left -= 1
            if plan.left <= 0:
                self._plans.remove(plan)


def _check_parameters(name: str, kind: Kind, parameters: Mapping[str, Any]) -> None:
    if unknown := parameters.keys() - kind.parameters.keys():
        raise ValueError(f"fault {name!r} has no {sorted(unknown)}; it takes {sorted(kind.parameters)}")
    for parameter, value in parameters.items():
        expected = type(kind.parameters[parameter])
        if not isinstance(value, (int, float) if expected is float else expected):
            raise ValueError(
                f"{parameter} of fault {name!r} must be of type {expected.__name__}, got {value!r}"
            )
        if parameter == "status" and value not in CODES:
            raise ValueError(f"{value!r} is not an error status. Choose one of: {', '.join(CODES)}")
