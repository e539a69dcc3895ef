"""Cancel the job of a task that a user has killed, but not when a process is restarted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.labels import other_names
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import InvalidRequestError, JobServiceError
from airflow_gemini_batch.version_compat import task_state

if TYPE_CHECKING:
    from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook

# The states of a running task that a user has marked or cleared.
_LEFT_BY_USERS = frozenset({"restarting", "success", "failed", "skipped", "removed"})

# In seconds. Airflow gives a killed trigger half a minute in all, and its first answer in a triggerer's life can take
# more than ten seconds on a busy machine: Airflow 3 builds its whole internal API for it.
ANSWER_TIMEOUT = 25.0


def cancel_if_killed(
    job_name: str,
    hook: GeminiBatchHook,
    task_instance: Any,
    waiting_state: str,
    log: Log,
    *,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> bool:
    """Cancel a job if its task no longer waits for it because a user marked or cleared the task.

    To the process, a restart, a redeployment or a trigger that moves looks the same. Only Airflow knows, so this asks
    it for the task's state. Unless the answer is clear, the job continues and the next try finds it.

    Nor is a job cancelled that is labelled as that of another task or run: another run may wait for it as well.

    It blocks for a few seconds at most, and raises nothing.

    :param waiting_state: the state of the task while it waits: ``running`` or ``deferred``.
    :param answer_timeout: how long to wait for Airflow's answer, in seconds.
    :returns: whether cancellation was requested.
    """
    try:
        name = hook.job_name(job_name)
    except ValueError as error:
        log.error("There is nothing to cancel: %s", error)
        return False
    try:
        state = _state_of(task_instance, answer_timeout)
    except Exception as error:
        log.warning("%s continues: could not ask whether its task was killed (%s)", name, error)
        return False
    if not _is_of_a_kill(state, waiting_state):
        log.info("%s continues: its task was not killed, its state is %s", name, state)
        return False
    try:
        client = hook.get_conn(name)
        labels = client.get(name).labels
        if other := other_names(labels, task_instance.dag_id, task_instance.task_id, task_instance.run_id):
            log.error("%s continues: it is the job of another task (%s)", name, ascii(other))
            return False
        client.cancel(name)
    except (JobServiceError, OSError, InvalidRequestError) as error:
        log.error("Could not cancel %s. It may still bill: %s\n%s", name, error, name.console_url)
        return False
    log.warning("Cancelled %s: its task was killed (its state is %s)", name, state)
    return True


def _is_of_a_kill(state: str | None, waiting_state: str) -> bool:
    """Whether a user put the task into this state while it was waiting."""
    if waiting_state == "running":
        # A restarted scheduler puts the tasks of lost workers back in the queue, and stops the workers that were
        # not lost after all; such a task runs again and wants its job.
        return state in _LEFT_BY_USERS
    return state != waiting_state


def _state_of(task_instance: Any, timeout: float) -> str | None:
    map_index = -1 if task_instance.map_index is None else task_instance.map_index
    # In a thread: Airflow's answer may never come in a process that is being torn down.
    pool = ThreadPoolExecutor(1)
    try:
        state = pool.submit(
            task_state, task_instance.dag_id, task_instance.run_id, task_instance.task_id, map_index
        )
        return state.result(timeout=timeout)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
