"""Run the local servers and Airflow until Ctrl-C."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow_gemini_batch.demo.books import SAMPLE, load_books, read_books
from airflow_gemini_batch.demo.workspace import BUCKET, DATASET, Workspace
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.testing.server_thread import HOST
from airflow_gemini_batch.testing.stack import LOCATION, PROJECT
from airflow_gemini_batch.testing.tables import has_table, load_table, parse_table

_READY_WITHIN = 300.0  # on a busy machine
_STOPPED_WITHIN = 20.0
_LOOK_EVERY = 2.0
# Where Airflow's SimpleAuthManager looks for them by default.
_PASSWORDS = "simple_auth_manager_passwords.json.generated"

Report = Callable[[str], None]


def run_until_interrupted(
    folder: Path | None,
    *,
    port: int,
    fail_rate: float,
    queue_seconds: float,
    run_seconds: float,
    report: Report,
    dags: Path | None = None,
    tables: Sequence[str] = (),
) -> None:
    """Run everything until the process is interrupted or terminated, then stop it and clean up.

    :param folder: kept afterwards, and a later run goes on from what is there: runs of DAGs, jobs, tables, objects.
        ``None`` for a temporary one, which is removed.
    :param dags: a folder of DAGs to run in place of the examples. They begin paused, since Airflow would run what is
        due at once.
    :param tables: files to fill tables of the local BigQuery with, each as ``dataset.table=file``.

    Raises :class:`~airflow_gemini_batch.exceptions.GeminiBatchError` when Airflow does not start, or one of its parts
    ends by itself.
    """
    if _answers(port):
        raise InvalidRequestError(f"Port {port} is in use. Choose another one with --port.")
    files = dict(map(parse_table, tables))
    books = read_books(SAMPLE)
    with _workspace(folder) as workspace, _interruptible():
        try:
            report(f"Folder: {workspace.folder}")
            with workspace.stack(
                keep=folder is not None,
                queue_seconds=queue_seconds,
                run_seconds=run_seconds,
                fail_rate=fail_rate,
            ) as stack:
                if not has_table(stack, f"{DATASET}.books"):
                    # Another version of the table would be other requests, and another job.
                    load_books(stack, DATASET, books)
                stack.storage.create_bucket(BUCKET, exist_ok=True)
                for name, file in files.items():
                    report(f"Table: {load_table(stack, name, file)}")
                environment = workspace.environment(stack, **_airflow_settings(port), **_own_dags(dags))
                with _airflow(workspace, environment) as airflow:
                    _wait_until_ready(airflow, port, workspace, report)
                    report(f"Airflow: http://{HOST}:{port} ({_login(workspace)})")
                    report(f"Cloud Storage: {stack.storage.url}")
                    report(f"BigQuery: {stack.bigquery.url}")
                    report(f"Vertex AI: {stack.vertex.url}")
                    report(
                        f"Jobs: gemini-batch jobs list --endpoint {stack.vertex.url} --project {PROJECT} "
                        f"--location {LOCATION}"
                    )
                    report(
                        "Press Ctrl-C to stop and remove everything."
                        if folder is None
                        else "Press Ctrl-C to stop."
                    )
                    raise GeminiBatchError(f"{first_to_end(airflow)} stopped by itself. See {workspace.log}")
        except KeyboardInterrupt:
            report("Stopped.")


def _airflow_settings(port: int) -> dict[str, str]:
    """Return the settings of the web server, under the names of Airflow 3 and of Airflow 2."""
    url = f"http://{HOST}:{port}"
    return {
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        # A busy machine takes longer than 5 seconds, and a task that has no answer by then runs 5 minutes later.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "false",
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": HOST,
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
        "AIRFLOW__WEBSERVER__BASE_URL": url,
        "AIRFLOW__WEBSERVER__WORKERS": "1",
        # Airflow 2's web server ends when it has not begun by then.
        "AIRFLOW__WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": f"{_READY_WITHIN:.0f}",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    }


def _own_dags(folder: Path | None) -> Mapping[str, str]:
    """Return the settings that show the DAGs of a folder in place of the examples, with the variables of the user."""
    if folder is None:
        return {}
    return {
        **{name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_VAR_")},
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder.absolute()),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "true",
    }


def first_to_end(airflow: subprocess.Popen[bytes]) -> str:
    """Wait until Airflow ends, or one of the commands that it has started, and return which.

    ``airflow standalone`` goes on without a part that has ended: nothing would run, and nobody would know why.
    """
    import psutil

    with suppress(psutil.NoSuchProcess):
        parts = {part: part.cmdline() for part in psutil.Process(airflow.pid).children()}
        while airflow.poll() is None:
            for part, command in parts.items():
                if not part.is_running() or part.status() == psutil.STATUS_ZOMBIE:
                    return f"`airflow {command[command.index('airflow') + 1]}`"
            time.sleep(_LOOK_EVERY)
    return "Airflow"


def _make_password(workspace: Workspace) -> None:
    """Give Airflow 3 the password of its only user, unless the folder has one from an earlier run."""
    path = workspace.airflow_home / _PASSWORDS
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(12)}))


def _login(workspace: Workspace) -> str:
    """Return how to log in; Airflow 2's standalone makes a user itself and leaves the password in a file."""
    own = workspace.airflow_home / "standalone_admin_password.txt"
    password = (
        own.read_text().strip()
        if own.exists()
        else json.loads((workspace.airflow_home / _PASSWORDS).read_text())["admin"]
    )
    return f"user admin, password {password}"


@contextmanager
def _workspace(folder: Path | None) -> Iterator[Workspace]:
    path = Path(tempfile.mkdtemp(prefix="gemini-batch-")) if folder is None else folder.absolute()
    workspace = Workspace(path)
    workspace.create()
    _make_password(workspace)
    yield workspace
    # After an error it stays, since the message names the log in it.
    if folder is None:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _airflow(workspace: Workspace, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    airflow = workspace.start("airflow", "standalone", environment=environment)
    try:
        yield airflow
    finally:
        # standalone leaves children behind on SIGTERM; SIGINT ends them all.
        _signal_group(airflow.pid, signal.SIGINT)
        deadline = time.monotonic() + _STOPPED_WITHIN
        while _group_exists(airflow.pid) and time.monotonic() < deadline:
            airflow.poll()
            time.sleep(0.2)
        _signal_group(airflow.pid, signal.SIGKILL)
        airflow.wait()


def _wait_until_ready(
    airflow: subprocess.Popen[bytes], port: int, workspace: Workspace, report: Report
) -> None:
    report("Starting Airflow. This takes about half a minute …")
    deadline = time.monotonic() + _READY_WITHIN
    while not _answers(port):
        if airflow.poll() is not None or time.monotonic() > deadline:
            raise GeminiBatchError(f"Airflow did not start. See {workspace.log}")
        time.sleep(0.5)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
