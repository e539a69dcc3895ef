"""Rows on the worker's disk: closed to others, and gone with the task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from airflow_gemini_batch.disk.private_folder import (
    PREFIX,
    make_private,
    private_folder,
    remove_private_folders,
)
from tests.crash.wait import wait_for


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def rows_in(folder: Path) -> Path:
    path = make_private(folder / "rows")
    path.write_bytes(b"row")
    return path


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_only_this_user_can_open_it(home, mask):
    before = os.umask(mask)
    try:
        with private_folder("build") as folder:
            rows = rows_in(folder)
            assert folder.parent == home
            assert folder.stat().st_mode & 0o777 == 0o700
            assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
            assert rows.read_bytes() == b"row"
    finally:
        os.umask(before)
    assert not list(home.iterdir())


def test_it_is_gone_after_an_error(home):
    def fail():
        with private_folder("build") as folder:
            rows_in(folder)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not list(home.iterdir())


def test_it_is_gone_when_the_task_is_killed(home):
    with private_folder("build") as folder, private_folder("landing"):
        rows_in(folder)
        remove_private_folders()
        assert not list(home.iterdir())


def test_handler_of_sigterm_is_the_one_before_again(home):
    before = signal.getsignal(signal.SIGTERM)
    with private_folder("build"), private_folder("landing"):
        pass
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("name", "lock", "goes"),
    [
        pytest.param(f"{PREFIX}build-abc", ".held", True, id="left-behind"),
        pytest.param(f"{PREFIX}build-abc", "rows", False, id="without-a-lock"),
        pytest.param("gemini-batch-build-abc", ".held", False, id="another-prefix"),
        pytest.param("of-somebody-else", ".held", False, id="of-somebody-else"),
    ],
)
def test_only_our_own_are_swept(home, name, lock, goes):
    left = home / name
    left.mkdir()
    (left / lock).write_bytes(b"")
    with private_folder("build", old_after=-60):
        assert left.exists() is not goes


def test_young_ones_and_those_of_living_processes_are_not_swept(home):
    left = home / f"{PREFIX}build-abc"
    left.mkdir()
    (left / ".held").write_bytes(b"")
    with private_folder("build") as living:
        assert left.exists()
        with private_folder("build", old_after=-60):
            assert living.exists()
            assert not left.exists()


def test_link_is_not_followed(home, tmp_path_factory):
    precious = tmp_path_factory.mktemp("precious")
    (precious / ".held").write_bytes(b"")
    (home / f"{PREFIX}build-abc").symlink_to(precious)
    with private_folder("build", old_after=-60):
        pass
    assert (precious / ".held").exists()


# How the versions of Airflow answer SIGTERM in the process of a task: 3 in sdk/execution_time/task_runner.py, 2 in
# models/taskinstance.py. A process without Airflow has no handler.
HANDLERS = {
    "airflow-3": "lambda *_: remove_private_folders()",
    "airflow-2": "airflow_2",
    "none": "signal.SIG_DFL",
}
TASK = """
import signal, sys, time
from airflow_gemini_batch.disk.private_folder import make_private, private_folder, remove_private_folders

def airflow_2(*_):
    remove_private_folders()
    raise RuntimeError("Task received SIGTERM signal")

signal.signal(signal.SIGTERM, {handler})
with private_folder("build") as folder:
    make_private(folder / "rows").write_bytes(b"row")
    print(folder, flush=True)
    time.sleep(60)
"""


def start_task(home: Path, handler: str) -> subprocess.Popen[str]:
    code = TASK.format(handler=HANDLERS[handler])
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("handler", HANDLERS)
def test_it_is_gone_after_sigterm(home, handler):
    with start_task(home, handler) as task:
        folder = Path(task.stdout.readline().strip())
        assert (folder / "rows").exists()
        task.terminate()
        if handler == "airflow-3":  # which kills the task some seconds later
            wait_for(lambda: not folder.exists(), f"{folder} is still there")
            task.kill()
        task.wait(60)
        assert not folder.exists()
    assert not list(home.iterdir())


@pytest.mark.slow
def test_what_sigkill_leaves_goes_with_the_next_start(home):
    with start_task(home, "airflow-3") as task:
        folder = Path(task.stdout.readline().strip())
        with private_folder("build", old_after=-60):
            assert folder.exists()
        task.kill()
        task.wait()
    assert (folder / "rows").exists()
    with private_folder("build", old_after=-60):
        assert not folder.exists()
    assert not list(home.iterdir())
