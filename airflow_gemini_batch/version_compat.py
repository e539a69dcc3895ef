"""Where Airflow's versions differ. No other file depends on the version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from inspect import signature
from typing import Any

from airflow.providers.common.compat.sdk import TriggerRule
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_PLUS
from airflow.triggers.base import BaseTrigger

try:
    from airflow.triggers.base import BaseEventTrigger as BaseEventTrigger

    HAS_ASSET_WATCHERS = True
except ImportError:
    BaseEventTrigger = BaseTrigger  # type: ignore[misc,assignment]
    HAS_ASSET_WATCHERS = False

TRIGGERS_HEAR_OF_KILLS = hasattr(BaseTrigger, "on_kill")
"""Whether Airflow calls a trigger's ``on_kill`` when a user kills its task (from 3.3 on), or only cancels it."""

DEFERRED_TIME_COUNTS = not AIRFLOW_V_3_0_PLUS
"""Whether the time that a task is deferred counts for its ``execution_timeout``."""

_ONE_OF_ALL = "all_done_min_one_success"
WHEN_ONE_HAS_SUCCEEDED = _ONE_OF_ALL if _ONE_OF_ALL in {rule.value for rule in TriggerRule} else "all_done"
"""Trigger rule of a task that needs one of the tasks before, once all have ended: otherwise it is ``upstream_failed``.
Before Airflow 3.1 there is no such rule, so the task runs in any case, and has to fail by itself."""

HAS_APPROVALS = AIRFLOW_V_3_1_PLUS
"""Whether a person can approve a task in a form (from 3.1 on); before, tasks are marked by hand."""


def dags_in(folder: str | None) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Return the DAGs of a folder or file by their ids, and what went wrong by file.

    :param folder: by default Airflow's.
    """
    try:
        module = import_module("airflow.dag_processing.dagbag")
    except ImportError:  # before 3.2
        module = import_module("airflow.models.dagbag")
    examples = "include_examples" in signature(module.DagBag).parameters
    bag = module.DagBag(folder, **({"include_examples": False} if examples else {}))
    return bag.dags, bag.import_errors


IN_PROCESS = "the task and its triggers run in one process"


def task_state(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """Return the present state of a task instance; returns ``None`` for one that was cleared.

    It blocks. Raises :class:`LookupError` when there is no such task instance, and what Airflow raises when it cannot
    answer.
    """
    if AIRFLOW_V_3_0_PLUS:
        return _state_from_the_api(dag_id, run_id, task_id, map_index)
    return _state_from_the_database(dag_id, run_id, task_id, map_index)


def _state_from_the_api(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=dag_id, run_ids=[run_id], task_ids=[task_id], map_index=map_index
    )
    key = task_id if map_index < 0 else f"{task_id}_{map_index}"
    state = states[run_id][key]
    return None if state is None else str(state)


def _state_from_the_database(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        states = session.scalars(
            select(TaskInstance.state).where(
                TaskInstance.dag_id == dag_id,
                TaskInstance.run_id == run_id,
                TaskInstance.task_id == task_id,
                TaskInstance.map_index == map_index,
            )
        ).all()
    if not states:
        raise LookupError(f"there is no task instance {dag_id}.{task_id} in {run_id}")
    return None if states[0] is None else str(states[0])


# In seconds. Two addresses may be asked, before a job that takes minutes at best.
_HEALTH_TIMEOUT = 5.0


def triggerer_heartbeat(task_instance: Any) -> datetime | None:
    """Return when a triggerer was last heard of, aware; returns ``None`` when there has never been one.

    It blocks. Raises :class:`LookupError` when that cannot be known: Airflow does not say, or whatever runs the task
    runs its triggers as well (``dag.test()``, ``airflow dags test``, ``airflow tasks test``).
    """
    try:
        if AIRFLOW_V_3_0_PLUS:
            return _heartbeat_from_the_api()
        return _heartbeat_from_the_database(task_instance)
    except LookupError:
        raise
    except Exception as error:
        raise LookupError(f"{type(error).__name__}: {error}") from error


def _heartbeat_from_the_api() -> datetime | None:
    """Ask the health page, which needs no login: a worker of Airflow 3 has no access to the database."""
    import requests
    from airflow.providers.common.compat.sdk import conf
    from airflow.sdk.execution_time import task_runner

    supervisor = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if supervisor is None or type(supervisor).__name__.startswith("InProcess"):
        raise LookupError(IN_PROCESS)
    base = conf.get("api", "base_url", fallback="") or "/"
    base = f"http://localhost:8080{base}" if base.startswith("/") else base
    # The address that tasks report to is often an internal one, which every worker reaches.
    reported = conf.get("core", "execution_api_server_url", fallback="") or base
    answers = []
    for root in dict.fromkeys(url.rstrip("/").removesuffix("/execution") for url in (reported, base)):
        try:
            answer = requests.get(
                f"{root}/api/v2/monitor/health",
                timeout=_HEALTH_TIMEOUT,
                verify=conf.get("api", "ssl_cert", fallback="") or True,
            )
            return _heartbeat_of(answer.json())
        except (OSError, ValueError, KeyError, TypeError) as error:  # what requests raises is an OSError
            answers.append(f"{root}: {type(error).__name__}: {error}")
    raise LookupError("; ".join(answers))


def _heartbeat_of(health: Mapping[str, Any]) -> datetime | None:
    """Read the page; raises :class:`ValueError`, :class:`KeyError` or :class:`TypeError` when it does not say."""
    if health["metadatabase"]["status"] != "healthy":
        raise ValueError("the metadata database is not healthy")
    heartbeat = health["triggerer"]["latest_triggerer_heartbeat"]
    return None if heartbeat is None else _aware(datetime.fromisoformat(heartbeat))


def _heartbeat_from_the_database(task_instance: Any) -> datetime | None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    if getattr(task_instance, "job_id", None) is None:
        raise LookupError(IN_PROCESS)
    with create_session() as session:
        heartbeat = session.scalar(
            select(func.max(Job.latest_heartbeat)).where(Job.job_type == "TriggererJob")
        )
    return None if heartbeat is None else _aware(heartbeat)


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def task_states(
    dag_id: str, task_id: str | None, run_id: str | None, logical_date: datetime | None
) -> dict[str, dict[str, str | None]]:
    """Return the states of a task's instances, by run: ``{run: {"task": state}}``, or ``"task_3"`` for a map index.

    It blocks.

    :param task_id: the task; without, all tasks of the DAG.
    :param run_id: the run; without, the runs of ``logical_date``.

    Raises :class:`LookupError` outside Airflow, and what Airflow raises when it cannot answer.
    """
    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.execution_time import task_runner

        if not hasattr(task_runner, "SUPERVISOR_COMMS"):
            raise LookupError("this process is not one of Airflow's")
        states: dict[str, dict[str, Any]] = task_runner.RuntimeTaskInstance.get_task_states(
            dag_id=dag_id,
            task_ids=[task_id] if task_id else None,
            run_ids=[run_id] if run_id else None,
            logical_dates=None if run_id or logical_date is None else [logical_date],
        )
    else:
        states = _states_from_the_database(dag_id, task_id, run_id, logical_date)
    return {
        run: {key: None if state is None else str(state) for key, state in tasks.items()}
        for run, tasks in states.items()
    }


def _states_from_the_database(
    dag_id: str, task_id: str | None, run_id: str | None, logical_date: datetime | None
) -> dict[str, dict[str, Any]]:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import inspect, select

    columns = TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state
    query = select(*columns).where(TaskInstance.dag_id == dag_id)
    if task_id:
        query = query.where(TaskInstance.task_id == task_id)
    if run_id:
        query = query.where(TaskInstance.run_id == run_id)
    else:
        runs = select(DagRun.run_id).where(DagRun.dag_id == dag_id, DagRun.execution_date == logical_date)
        query = query.where(TaskInstance.run_id.in_(runs))
    states: dict[str, dict[str, Any]] = {}
    with create_session() as session:
        if not inspect(session.get_bind()).has_table(TaskInstance.__tablename__):
            raise LookupError("this process has no database of Airflow's")
        for run, task, index, state in session.execute(query):
            states.setdefault(run, {})[task if index < 0 else f"{task}_{index}"] = state
    return states


def takes_events_of(alias: str) -> bool:
    """Return whether a task may add an event of an alias among its outlets. It blocks.

    Airflow 2 fails a task, after all its work, for an alias that is not in the database: in ``airflow dags test``, and
    before the DAG processor has read the DAG.
    """
    if AIRFLOW_V_3_0_PLUS:
        return True
    from airflow.models.dataset import DatasetAliasModel  # type: ignore[import-not-found]
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(DatasetAliasModel.id).where(DatasetAliasModel.name == alias)) is not None


async def asset_state(store: Any, what: str, *arguments: Any) -> Any:
    """Call what Airflow keeps of an asset for its watchers, without blocking the event loop.

    :param what: ``get`` or ``set``. In Airflow 3.3.0 neither can be awaited.
    """
    if call := getattr(store, f"a{what}", None):
        return await call(*arguments)
    return await asyncio.to_thread(getattr(store, what), *arguments)


def task_result(dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """Return what a task instance has returned; ``None`` for nothing. It blocks."""
    from airflow.providers.common.compat.sdk import XCom

    return XCom.get_one(
        key="return_value",
        dag_id=dag_id,
        task_id=task_id,
        run_id=run_id,
        map_index=None if map_index < 0 and AIRFLOW_V_3_0_PLUS else map_index,
    )
