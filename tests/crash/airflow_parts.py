"""Airflow 3 as separate processes, so that each can be killed by itself."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from airflow_gemini_batch.demo.workspace import Workspace
from airflow_gemini_batch.testing.server_thread import HOST
from airflow_gemini_batch.testing.stack import LocalStack
from tests.crash.services import Deployment
from tests.crash.wait import wait_for

# Airflow notices a death after minutes, by default; here it takes seconds.
_IMPATIENT = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "8",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """What Airflow's database says about one task of a run."""

    task_id: str
    state: str | None
    try_number: int
    pid: int | None


class AirflowParts:
    """An API server, a DAG processor, a scheduler, workers and triggerers, on 127.0.0.1."""

    def __init__(self, workspace: Workspace, stack: LocalStack, dags: Path, deployment: Deployment) -> None:
        self._workspace = workspace
        self.deployment = deployment
        self._database = create_engine(deployment.database)
        with closing(socket.create_server((HOST, 0))) as free:
            self._port = free.getsockname()[1]
        url = f"http://{HOST}:{self._port}"
        self._environment = workspace.environment(
            stack,
            **_IMPATIENT,
            **deployment.environment,
            AIRFLOW__CORE__DAGS_FOLDER=str(dags),
            AIRFLOW__CORE__PARALLELISM="4",
            AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"{url}/execution/",
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="true",
            AIRFLOW__API__HOST=HOST,
            AIRFLOW__API__PORT=str(self._port),
            AIRFLOW__API__BASE_URL=url,
            AIRFLOW__API__WORKERS="1",
            AIRFLOW__API_AUTH__JWT_SECRET=secrets.token_hex(32),
        )
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # A process group outlives its leader: workers of a scheduler that was killed are found by it.
        self._groups: list[int] = []

    def __enter__(self) -> Self:
        try:
            self._command("db", "migrate")
            self.start(*self.deployment.commands)
            self._wait_for(self._answers, "the API server does not answer")
            self._wait_for(lambda: bool(self._query("SELECT 1 FROM serialized_dag")), "the DAG was not read")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for process in self._running.values():
            process.wait()

    def start(self, *names: str) -> None:
        """Start components."""
        for name in names:
            command = self.deployment.commands[name]
            self._running[name] = self._workspace.start("airflow", *command, environment=self._environment)
            self._groups.append(self._running[name].pid)

    def kill(self, *names: str) -> None:
        """Kill the components' own processes with SIGKILL; what they have started lives on."""
        for name in names:
            self._running[name].kill()
            self._running[name].wait()

    def kill_workers(self, run_id: str) -> int:
        """Kill the workers that run a task of this run, each with its tasks; returns how many there were.

        A worker that is a part of its own dies with all that it has started, as a pod does, and is started again.
        """
        tasks = [row.pid for row in self.tasks(run_id) if row.state == "running" and row.pid]
        if self.deployment.workers:
            # A task is the leader of a group of its own.
            groups = {task: _group(_parent(task)) for task in tasks}
            hit = [name for name in self.deployment.workers if self._running[name].pid in groups.values()]
            for name in hit:
                pid = self._running[name].pid
                for group in (pid, *(task for task, group in groups.items() if group == pid)):
                    with suppress(ProcessLookupError):
                        os.killpg(group, signal.SIGKILL)
                self._running[name].wait()
                self.start(name)
            return len(hit)
        pairs = [(worker, task) for task in tasks if self._is_ours(worker := _parent(task))]
        for worker, task in pairs:
            # The worker first, or it would report the death of its task.
            for pid in (worker, task):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return len(pairs)

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a DAG run."""
        self._command("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(conf))

    def run_state(self, run_id: str) -> str | None:
        """Return the state of a DAG run."""
        rows = self._query("SELECT state FROM dag_run WHERE run_id = :run_id", run_id)
        return rows[0][0] if rows else None

    def tasks(self, run_id: str) -> list[TaskRow]:
        """Return the tasks of a DAG run."""
        wanted = "SELECT task_id, state, try_number, pid FROM task_instance WHERE run_id = :run_id"
        return [TaskRow(*row) for row in self._query(wanted, run_id)]

    def results(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Return what the tasks of a DAG run returned, by task."""
        wanted = "SELECT task_id, value FROM xcom WHERE key = 'return_value' AND run_id = :run_id"
        return {task_id: _decoded(value) for task_id, value in self._query(wanted, run_id)}

    def _is_ours(self, pid: int) -> bool:
        # The task of a worker that has just died belongs to process 1, which is nobody's to kill.
        return _group(pid) in self._groups

    def _command(self, *arguments: str) -> None:
        if self._workspace.start("airflow", *arguments, environment=self._environment).wait() != 0:
            raise RuntimeError(
                f"airflow {' '.join(arguments)} failed: {self._workspace.log.read_text()[-4000:]}"
            )

    def _query(self, sql: str, run_id: str = "") -> list[tuple[Any, ...]]:
        try:
            with self._database.connect() as connection:
                parameters = {"run_id": run_id} if run_id else {}
                return [tuple(row) for row in connection.execute(text(sql), parameters)]
        except (OperationalError, ProgrammingError):  # being written, or not made yet
            return []

    def _answers(self) -> bool:
        try:
            socket.create_connection((HOST, self._port), timeout=1).close()
        except OSError:
            return False
        return True

    def _wait_for(self, ready: Callable[[], bool], complaint: str) -> None:
        def ready_or_dead() -> bool:
            return bool(self._dead()) or ready()

        with suppress(RuntimeError):
            wait_for(ready_or_dead, complaint)
        if not ready():
            log = self._workspace.log.read_text()[-4000:]
            raise RuntimeError(f"{complaint}, ended: {self._dead()}; {log}")

    def _dead(self) -> list[str]:
        return [name for name, process in self._running.items() if process.poll() is not None]


def _parent(pid: int) -> int:
    """Return the id of a process's parent, 1 when there is no such process."""
    try:
        # The name in brackets, the second field, may hold blanks.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 1


def _group(pid: int) -> int | None:
    """Return the process group of a process, None when there is no such process."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _decoded(value: Any) -> Any:
    """Return what a JSON column holds; Postgres' driver has decoded it already."""
    return json.loads(value) if isinstance(value, str) else value
