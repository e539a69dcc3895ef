"""One file on the worker's disk, or on one that several share: there as a whole, or not at all.

The content is written to a file beside it, which then takes its place in one step. A reader sees the old one or the new
one, also when the writer is killed or the machine stops.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from airflow_gemini_batch.disk.locks import OLD_AFTER, abandoned, hold, locked

_ENDING = ".gemini-batch"
_PERMISSIONS = 0o777
_LONGEST_PREFIX = 100


class ReplacedMeanwhileError(Exception):
    """Another writer replaced the file since it was read."""


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file, there or not.

    A new file gets the permissions that the process gives to all files; a file that is replaced keeps its own.

    :param path: where it is; when this is a symbolic link, the link stays and leads to the new content.
    :param old_after: in seconds; what a writer that was killed has left beside the file is removed after that time.
    """

    path: Path
    old_after: float = OLD_AFTER

    def fetch(self, copy: Path) -> str:
        """Copy the file and return which version of it this is; empty when there is none."""
        try:
            with self.path.open("rb") as file, copy.open("wb") as copied:
                # Before it is read: a file that changes meanwhile is another version by the time it is put.
                version = _version(os.fstat(file.fileno()))
                shutil.copyfileobj(file, copied)
        except FileNotFoundError:
            return ""
        return version

    def put(self, file: Path, version: str) -> None:
        """Put a copy of a file in the place of a version, as :meth:`fetch` has named it.

        Raises :class:`ReplacedMeanwhileError` when another version is there. Two writers can't both pass: who replaces
        a file holds its lock, and one that is not there yet is made by a link, which fails when another one has made
        it. Where a shared disk has neither locks nor links, a moment is left in which they can.
        """
        with self._beside() as new:
            with file.open("rb") as source:
                shutil.copyfileobj(source, new.file)
            _keep(new.file)
            with locked(new.target):
                if _version_of(new.target) != version:
                    raise ReplacedMeanwhileError
                if version or not _linked(new.path, new.target):
                    new.path.replace(new.target)
            _keep_names(new.target.parent)

    @contextmanager
    def writing(self) -> Iterator[BinaryIO]:
        """Give a file to write to, which then takes the place of whatever is there, unless an error is raised."""
        with self._beside() as new:
            yield new.file
            _keep(new.file)
            new.path.replace(new.target)
            _keep_names(new.target.parent)

    @contextmanager
    def _beside(self) -> Iterator[_NewFile]:
        """Make a file in the folder of the target; it is gone afterwards, unless it is the target."""
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{target.name[:_LONGEST_PREFIX]}."
        for path in abandoned(_named(target.parent, prefix), old_after=self.old_after):
            path.unlink(missing_ok=True)
        replaced = target.stat() if target.exists() else None
        # A name that nobody can know; were there a file or a link of that name, this would be an error.
        path = target.parent / f"{prefix}{secrets.token_hex(8)}{_ENDING}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600 if replaced else 0o666)
        try:
            with open(descriptor, "wb") as file:
                hold(descriptor)
                if replaced:
                    with suppress(OSError):
                        os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
                    os.fchmod(descriptor, replaced.st_mode & _PERMISSIONS)
                yield _NewFile(file, path, target)
        finally:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _NewFile:
    file: BinaryIO
    path: Path
    target: Path


def _named(folder: Path, prefix: str) -> list[Path]:
    try:
        names = os.listdir(folder)
    except OSError:  # a folder may be closed for reading
        return []
    return [folder / name for name in names if name.startswith(prefix) and name.endswith(_ENDING)]


def _version(status: os.stat_result) -> str:
    return f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _version_of(path: Path) -> str:
    try:
        # Opened, since NFS asks the server only then.
        with path.open("rb") as file:
            return _version(os.fstat(file.fileno()))
    except FileNotFoundError:
        return ""


def _linked(path: Path, target: Path) -> bool:
    """Give a file a second name; ``False`` where the disk has no such names.

    Raises :class:`ReplacedMeanwhileError` when there is a file of that name.
    """
    try:
        os.link(path, target)
    except FileExistsError:
        raise ReplacedMeanwhileError from None
    except OSError:
        return False
    return True


def _keep(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _keep_names(folder: Path) -> None:
    # Some file systems have nothing to do here and say so by an error.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
