"""Locks of files, which tell who works on one now, and what a process that is gone has left behind."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

OLD_AFTER = 6 * 3600.0
"""In seconds. The lock alone would do, but some file systems let everybody have it."""


def hold(descriptor: int) -> None:
    """Lock an open file until it is closed, or its process ends; nothing where the file system has no locks."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock of a file and keep it; nothing where there is no such file, or the file system has no locks."""
    descriptor = None
    # NFS locks only files that are open for writing.
    for flags in (os.O_RDWR, os.O_RDONLY):
        with suppress(OSError):
            descriptor = os.open(path, flags | os.O_CLOEXEC)
            break
    try:
        if descriptor is not None:
            hold(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def abandoned(paths: Iterable[Path], lock: str = "", *, old_after: float = OLD_AFTER) -> Iterator[Path]:
    """Yield the paths of this user that are old and that no process holds.

    :param lock: of folders, the name of the file in each that is locked; a folder without it is left out.
    :param old_after: in seconds.
    """
    for path in paths:
        # Another user's, or one that another process sweeps at the same time.
        with suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime >= old_after:
                _check_free(path / lock)
                yield path


def _check_free(path: Path) -> None:
    """Raise :class:`OSError` when a process holds a file, or it can't be opened; links are not followed."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
