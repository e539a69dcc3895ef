"""The processes that a crash hits: a worker with one try of a task, a triggerer with one trigger.

What they send through their pipe is what Airflow's database would hold, or a sign that they have come to a certain
point. They import Airflow and the package inside, since they are forked from a process that has both loaded.
"""

from __future__ import annotations

import asyncio
import json
import os
import pkgutil
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

DAG_ID = "crash"
TASK_ID = "describe"

# What a worker says. A sign, nothing is stored yet:
DEFERRING = "deferring"
FINISHING = "finishing"
# Stored:
DEFERRED = "deferred"
RESULT = "result"
FAILED = "failed"
# What a triggerer says; stored:
EVENT = "event"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a process finds itself.

    :param log: file for everything that it prints.
    """

    vertex_url: str
    log: str

    def enter(self) -> None:
        """Lead the clients to the round's own Vertex AI, and the output to the round's log."""
        os.environ["GOOGLE_VERTEX_BASE_URL"] = self.vertex_url
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)


@dataclass(frozen=True, slots=True)
class Try:
    """What Airflow gives to a worker.

    :param deferral: as the worker stored it when it deferred; ``None`` to begin at the beginning.
    :param event: the event that ended the deferral.
    :param hold: the message after which the worker stands still, to be killed at exactly that point.
    """

    run_id: str
    number: int
    source: str
    deferral: dict[str, Any] | None = None
    event: Any = None
    hold: str = ""


def work(pipe: Connection, around: Surroundings, one: Try) -> None:
    """Run one try up to its end or its deferral, as a worker does."""
    around.enter()
    from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

    from airflow_gemini_batch import SubmitGeminiBatchOperator
    from tests.support.tasks import TaskInstance

    def say(kind: str, content: Any = None) -> None:
        _send(pipe, kind, content)
        while kind == one.hold:
            signal.pause()

    task = SubmitGeminiBatchOperator(
        task_id=TASK_ID, model="gemini-3.8-flash", requests=one.source, poll_interval=0.1
    )
    ti = TaskInstance(dag_id=DAG_ID, task_id=TASK_ID, run_id=one.run_id, try_number=one.number)
    context: Any = {"ti": ti}
    try:
        if one.deferral is None:
            result = task.execute(context)
        else:
            method = getattr(task, one.deferral["method"])
            result = method(context, event=one.event, **one.deferral["kwargs"])
    except TaskDeferred as deferred:
        path, arguments = deferred.trigger.serialize()
        say(DEFERRING)
        stored = {"trigger": path, "arguments": arguments, "method": deferred.method_name}
        say(DEFERRED, {**stored, "kwargs": deferred.kwargs or {}})
    except AirflowFailException as error:
        say(FAILED, {"error": str(error), "retry": False})
    except Exception as error:
        say(FAILED, {"error": f"{type(error).__name__}: {error}", "retry": True})
    else:
        say(FINISHING)
        say(RESULT, result)


def watch(pipe: Connection, around: Surroundings, trigger: str, arguments: dict[str, Any]) -> None:
    """Run one trigger to its event, as a triggerer does."""
    around.enter()
    from tests.support.tasks import first_event

    try:
        event = asyncio.run(first_event(pkgutil.resolve_name(trigger)(**arguments)))
    except Exception as error:
        _send(pipe, FAILED, {"error": f"{type(error).__name__}: {error}", "retry": True})
    else:
        _send(pipe, EVENT, event)


def _send(pipe: Connection, kind: str, content: Any) -> None:
    pipe.send_bytes(json.dumps([kind, content]).encode())
