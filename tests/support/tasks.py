"""Run one task of ours without a scheduler: execute, trigger, resume, as Airflow does it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred


@dataclass
class TaskInstance:
    """What the operators read of a task instance."""

    dag_id: str = "nightly"
    task_id: str = "describe"
    run_id: str = "scheduled__2026-11-22T00:00:00+00:00"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def run_task(task: Any, ti: TaskInstance | None = None) -> Any:
    """Run a task to its end, however often it defers.

    A trigger crosses to another process, as JSON, and so does its event.
    """
    ti = ti or TaskInstance(task_id=task.task_id)
    context = {"ti": ti, "task_instance": ti}
    method, arguments = "execute", {}
    while True:
        try:
            return getattr(task, method)(context, **arguments)
        except TaskDeferred as deferred:
            event = asyncio.run(first_event(reborn(deferred.trigger)))
            method = deferred.method_name
            arguments = json.loads(json.dumps({**(deferred.kwargs or {}), "event": event}))


def reborn(trigger: Any) -> Any:
    """Return the trigger as another process would make it again."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))


async def first_event(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")
