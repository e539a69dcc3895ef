"""A real scheduler and triggerer: the nightly DAG from its start to its end, deferred in between."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COMMAND = str(Path(sys.executable).parent / "gemini-batch")
DAG_ID = "nightly_book_descriptions"


@pytest.fixture
def up(tmp_path):
    """``gemini-batch up``, interrupted at the end as by Ctrl-C."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    arguments = [
        "--port",
        str(port),
        "--queue-seconds",
        "1",
        "--run-seconds",
        "8",
        "--folder",
        str(tmp_path / "up"),
    ]
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            [COMMAND, "up", *arguments], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)


def query(database: Path, sql: str) -> list[tuple]:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, (DAG_ID,)).fetchall()
    except sqlite3.Error:
        return []


def test_dag_run_defers_and_succeeds_and_nothing_is_left_behind(up, tmp_path):
    database = tmp_path / "up" / "airflow" / "airflow.db"
    seen: set[str] = set()
    runs: list[str] = []
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and up.poll() is None and not {"success", "failed"} & set(runs):
        tasks = "SELECT state FROM task_instance WHERE dag_id = ? AND task_id = 'describe_books.submit'"
        seen |= {state for (state,) in query(database, tasks) if state}
        runs = [state for (state,) in query(database, "SELECT state FROM dag_run WHERE dag_id = ?")]
        time.sleep(0.3)
    log = (tmp_path / "up" / "airflow.log").read_text()[-5000:]
    assert runs == ["success"], log
    assert "deferred" in seen, f"submit was only seen {seen}"

    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=300) == 0
    assert "Stopped." in (tmp_path / "up.log").read_text()
    mine = str(tmp_path).encode()
    left = [pid for pid in os.listdir("/proc") if pid.isdigit() and mine in _environment(pid)]
    assert left == [], [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left]


def _environment(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
