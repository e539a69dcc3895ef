"""What Airflow runs on: SQLite and workers of the scheduler's own, or Postgres and Celery as managed Airflow has them.

The second needs Debian's postgresql and redis-server, and in Python apache-airflow-providers-celery, redis,
psycopg2-binary, and celery below 5.7 with version 3.26 of the provider. Both servers listen on 127.0.0.1 only.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from airflow_gemini_batch.demo.workspace import Workspace
from airflow_gemini_batch.testing.server_thread import HOST
from tests.crash.wait import wait_for

API_SERVER = "api-server"
SCHEDULER = "scheduler"
_BASE = {
    API_SERVER: ("api-server",),
    "dag-processor": ("dag-processor",),
    # Without their log servers, which would listen on every interface.
    SCHEDULER: ("scheduler", "--skip-serve-logs"),
}
_TRIGGERER = ("triggerer", "--skip-serve-logs")
_POSTGRES_USER = "postgres"
_POSTGRES_PROGRAMS = "/usr/lib/postgresql"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The parts of an Airflow.

    :param database: SQLAlchemy's address of Airflow's database.
    :param commands: part → its ``airflow`` command.
    :param triggerers: the parts that are triggerers.
    :param workers: the parts that are workers; none when the scheduler starts them itself.
    """

    database: str
    commands: Mapping[str, tuple[str, ...]]
    triggerers: tuple[str, ...]
    workers: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def small(workspace: Workspace) -> AbstractContextManager[Deployment]:
    """Return SQLite, one triggerer, and workers that the scheduler starts."""
    database = f"sqlite:///{workspace.airflow_home / 'airflow.db'}"
    return nullcontext(Deployment(database, {**_BASE, "triggerer": _TRIGGERER}, ("triggerer",)))


@contextmanager
def managed(workspace: Workspace) -> Iterator[Deployment]:
    """Start Postgres and Redis; return Celery with two workers, and two triggerers."""
    triggerers = ("triggerer-1", "triggerer-2")
    workers = ("worker-1", "worker-2")
    with _postgres() as database, _redis(workspace.folder / "redis") as broker:
        yield Deployment(
            database,
            {
                **_BASE,
                **dict.fromkeys(triggerers, _TRIGGERER),
                **{
                    name: ("celery", "worker", "--skip-serve-logs", "--celery-hostname", f"{name}@%h")
                    for name in workers
                },
            },
            triggerers,
            workers,
            {
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CELERY__BROKER_URL": broker,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
            },
        )


@contextmanager
def _postgres() -> Iterator[str]:
    """Start a server with an empty database; yield SQLAlchemy's address of it."""
    programs = max(Path(_POSTGRES_PROGRAMS).glob("*/bin"), default=None)
    if programs is None:
        raise RuntimeError(f"there is no PostgreSQL below {_POSTGRES_PROGRAMS}: apt-get install postgresql")
    # Postgres refuses to run as root, and its own user can't enter root's folders.
    user = _POSTGRES_USER if os.geteuid() == 0 else None
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="gemini-batch-postgres-") as name:
        if user:
            shutil.chown(name, user)
        data = f"{name}/data"
        _run([f"{programs}/initdb", "-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8"], user)
        server = [
            f"{programs}/postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-h",
            HOST,
            "-k",
            name,
            "-c",
            "fsync=off",
        ]
        address = ["-h", HOST, "-p", str(port), "-U", "airflow"]
        with _process(server, Path(name, "log"), user):
            wait_for(lambda: _succeeds([f"{programs}/pg_isready", "-q", *address]), "Postgres is not ready")
            _run([f"{programs}/createdb", *address, "airflow"], user)
            yield f"postgresql+psycopg2://airflow@{HOST}:{port}/airflow"


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """Start a server; yield its address."""
    port = _free_port()
    folder.mkdir()
    command = ["redis-server", "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", ""]
    with _process(command, folder / "log"):
        wait_for(lambda: _listens(port), "Redis does not answer")
        yield f"redis://{HOST}:{port}/0"


@contextmanager
def _process(command: list[str], log: Path, user: str | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, user=user, cwd="/"
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)  # Postgres then waits for no client
        process.wait()


def _run(command: list[str], user: str | None) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, cwd="/")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False).returncode == 0


def _free_port() -> int:
    with closing(socket.create_server((HOST, 0))) as free:
        return free.getsockname()[1]


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
