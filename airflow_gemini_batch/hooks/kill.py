"""When a user kills a task, its job is cancelled; when a process is restarted, it never is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.exceptions import VertexApiError
from airflow_gemini_batch.jobs.state import JobName
from airflow_gemini_batch.version_compat import task_state

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

# What a user's mark or clear makes of a running task.
_LEFT_BY_USERS = frozenset({"restarting", "success", "failed", "skipped", "removed"})

# Airflow gives a killed trigger half a minute in all, and its first answer in a triggerer's life can take more than
# ten seconds on a busy machine: Airflow 3 builds its whole internal API for it.
_ASKING_TAKES_AT_MOST = 25.0


def cancel_if_killed(
    job_name: str, hook: GeminiBatchHook, task_instance: Any, waiting_state: str, log: Any
) -> bool:
    """Cancel a job when its task no longer waits for it because a user marked or cleared the task.

    A worker or triggerer that is stopped, redeployed or relieved of a trigger looks just the same from inside:
    only Airflow knows, so it is asked, and unless it says clearly that the task is not waiting any more, the job
    goes on and the next try finds it.

    It blocks for a few seconds at the most, and raises nothing.

    :param waiting_state: the state of the task while it waits: ``running`` or ``deferred``.
    :returns: whether the job was asked to be cancelled.
    """
    try:
        state = _state_of(task_instance)
    except Exception as error:
        log.warning("%s goes on: it is not known whether its task was killed (%s)", job_name, error)
        return False
    if not _is_of_a_kill(state, waiting_state):
        log.info("%s goes on: nobody killed its task, which is %s now", job_name, state)
        return False
    name = JobName.parse(job_name)
    try:
        hook.get_conn(name).cancel(name)
    except (VertexApiError, OSError) as error:
        log.error("%s could not be cancelled, and may go on and bill: %s\n%s", name, error, name.console_url)
        return False
    log.warning("Cancelled %s: its task was killed (its state is %s now)", name, state)
    return True


def _is_of_a_kill(state: str | None, waiting_state: str) -> bool:
    """Whether a user put the task into this state while it was waiting."""
    if waiting_state == "running":
        # A restarted scheduler puts the tasks of lost workers back in the queue, and stops the workers that were
        # not lost after all; such a task runs again and wants its job.
        return state in _LEFT_BY_USERS
    return state != waiting_state


def _state_of(task_instance: Any) -> str | None:
    map_index = -1 if task_instance.map_index is None else task_instance.map_index
    # In a thread: Airflow's answer may never come in a process that is being torn down.
    pool = ThreadPoolExecutor(1)
    try:
        asked = pool.submit(
            task_state, task_instance.dag_id, task_instance.run_id, task_instance.task_id, map_index
        )
        return asked.result(timeout=_ASKING_TAKES_AT_MOST)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
