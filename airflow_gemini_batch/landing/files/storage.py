"""The files that answers land in, replaced in one step: a reader sees the old one or the new one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_gemini_batch.core.addresses import GcsAddress, parse_address
from airflow_gemini_batch.exceptions import InvalidRequestError, as_invalid_request

if TYPE_CHECKING:
    from google.cloud.storage import Client

_ABSENT = 0
_PRESENT = 1  # the only generation that is known of a local file


class ReplacedMeanwhileError(Exception):
    """Another writer replaced the file since it was read."""


class TargetFile(Protocol):
    """A file on Cloud Storage or on a disk, there or not."""

    def fetch(self, copy: Path) -> int:
        """Copy the file and return its generation, 0 when there is none."""

    def put(self, file: Path, generation: int) -> None:
        """Put a file in the place of a generation; raises :class:`ReplacedMeanwhileError` when there is another."""


def target_file(target: str, client: Client) -> TargetFile:
    """Return the file that a ``gs://`` address or a local path names."""
    if "://" not in target:
        return _LocalFile(Path(target))
    with as_invalid_request():
        address = parse_address(target)
    if not isinstance(address, GcsAddress):
        raise InvalidRequestError(f"{target} is not a file: give gs://BUCKET/PATH or a local path")
    return _StoredFile(address, client)


@dataclass(frozen=True, slots=True)
class _StoredFile:
    address: GcsAddress
    client: Client

    def fetch(self, copy: Path) -> int:
        blob = self.client.bucket(self.address.bucket).get_blob(self.address.path)
        if blob is None:
            return _ABSENT
        blob.download_to_filename(str(copy), if_generation_match=blob.generation)
        return int(blob.generation)

    def put(self, file: Path, generation: int) -> None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self.client.bucket(self.address.bucket).blob(self.address.path)
        try:
            blob.upload_from_filename(str(file), if_generation_match=generation)
        except PreconditionFailed as error:
            raise ReplacedMeanwhileError from error
        except NotFound:
            raise InvalidRequestError(f"target {self.address}: the bucket does not exist") from None


@dataclass(frozen=True, slots=True)
class _LocalFile:
    """A file on the worker's disk, or on one that it shares.

    Of two tasks that land in it at the same time the later one wins: there are no conditions here.
    """

    path: Path

    def fetch(self, copy: Path) -> int:
        try:
            shutil.copyfile(self.path, copy)
        except FileNotFoundError:
            return _ABSENT
        return _PRESENT

    def put(self, file: Path, generation: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, since only within one disk a file is replaced in one step.
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            shutil.copyfile(file, beside)
            beside.replace(self.path)
        finally:
            beside.unlink(missing_ok=True)
