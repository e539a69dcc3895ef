"""Folders for rows on their way: of this user alone, and gone when the task is, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from airflow_gemini_batch.disk.locks import OLD_AFTER, abandoned, hold

PREFIX = "gemini-batch-rows-"
_LOCK = ".held"

_open_folders: set[Path] = set()


@contextmanager
def private_folder(purpose: str, *, old_after: float = OLD_AFTER) -> Iterator[Path]:
    """Give a new folder below ``TMPDIR`` that only this user can open; it is removed afterwards.

    So it is on SIGTERM, and when a task is killed (:func:`remove_private_folders`). The next one that is
    made removes what SIGKILL leaves behind.

    :param purpose: part of the folder's name.
    :param old_after: age, in seconds, from which the folders of processes that are gone are removed.
    """
    for path in abandoned(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), _LOCK, old_after=old_after):
        shutil.rmtree(path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    _open_folders.add(folder)
    try:
        with make_private(folder / _LOCK).open("wb") as lock, _ending_on_sigterm():
            hold(lock.fileno())
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _open_folders.discard(folder)


def remove_private_folders() -> None:
    """Remove the folders that this process has open, as it is about to be killed.

    Airflow 3 answers SIGTERM with a task's ``on_kill`` and lets the task run on until SIGKILL; Airflow 2 raises an
    error after ``on_kill``.
    """
    for folder in list(_open_folders):
        shutil.rmtree(folder, ignore_errors=True)


def make_private(path: Path) -> Path:
    """Make an empty file that only this user can read, for a library that opens it by its name; return the path."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return path


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise an error where it would end the process without a word, so that folders are removed."""
    is_free = threading.current_thread() is threading.main_thread()
    if not is_free or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
