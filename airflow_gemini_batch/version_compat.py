"""Where Airflow's versions differ. No other file depends on the version."""

from __future__ import annotations

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.triggers.base import BaseTrigger

TRIGGERS_HEAR_OF_KILLS = hasattr(BaseTrigger, "on_kill")
"""Whether Airflow calls a trigger's ``on_kill`` when a user kills its task (from 3.3 on), or only cancels it."""


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
