"""Run an operator of Airflow's without Airflow: its execute method, and its trigger when it defers."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace
from typing import Any
from unittest import mock

DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def execute(operator: Any) -> Any:
    """Execute an operator, its triggers included, and return its result."""
    context = _context(operator)
    operator.defer = _defer
    operator.render_template_fields(context)
    try:
        return operator.execute(context)
    except _Deferred as deferred:
        event = asyncio.run(_first_event(deferred.trigger))
        return getattr(operator, deferred.method)(context, event, **deferred.arguments)


def _context(operator: Any) -> dict[str, Any]:
    run = mock.Mock(run_after=DAY, start_date=DAY, run_id="scheduled__2026-01-01")
    instance = mock.Mock(try_number=1, task=operator)
    instance.xcom_pull.return_value = None
    return {
        "task": operator,
        "ti": instance,
        "task_instance": instance,
        "dag_run": run,
        "logical_date": DAY,
        "run_id": run.run_id,
        "ds": "2026-01-01",
        "macros": SimpleNamespace(ds_add=_ds_add),
        "data_interval_start": DAY,
        "data_interval_end": DAY + dt.timedelta(days=1),
    }


def _ds_add(day: str, days: int) -> str:
    return str(dt.date.fromisoformat(day) + dt.timedelta(days=days))


class _Deferred(BaseException):
    def __init__(self, trigger: Any, method: str, arguments: dict[str, Any]) -> None:
        self.trigger, self.method, self.arguments = trigger, method, arguments


def _defer(*, trigger: Any, method_name: str, kwargs: dict[str, Any] | None = None, **_: Any) -> None:
    raise _Deferred(trigger, method_name, kwargs or {})


async def _first_event(trigger: Any) -> Any:
    async with asyncio.timeout(30):
        return (await anext(trigger.run())).payload
