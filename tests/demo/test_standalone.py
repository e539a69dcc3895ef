"""A real scheduler and triggerer: the nightly DAG from its start to its end, deferred in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DAG_ID = "nightly_book_descriptions"


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
