"""Copies of a file before the first answers to a question land in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.columns import QUESTION_COLUMN, SHORT_QUESTION, previous_target_of
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.disk.whole_file import ReplacedMeanwhileError, WholeFile
from airflow_gemini_batch.jobs.polling import utc_now
from airflow_gemini_batch.landing.files.merge import FileRows
from airflow_gemini_batch.landing.previous import Copy
from airflow_gemini_batch.sql.engine import identifier, text_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from google.cloud.storage import Client


_UNKNOWN = datetime.fromtimestamp(0, UTC)


class FileCopies(Protocol):
    """The copies of a file, which lie beside it."""

    def all(self) -> list[Copy]:
        """Return those that there are."""

    def make(self, generation: str, content: Path, address: str) -> None:
        """Copy one generation of the file, in the place of a copy that is there.

        :param content: the same on this worker's disk.

        Raises :class:`.ReplacedMeanwhileError` when the generation is gone.
        """

    def remove(self, copy: Copy) -> None:
        """Remove a copy, if it is there."""


def file_copies(target: str, client: Client) -> FileCopies:
    """Return the copies of the file that a ``gs://`` address or a local path names."""
    if target.startswith("gs://"):
        return _StoredCopies(target, client)
    return _LocalCopies(target)


@dataclass(frozen=True, slots=True)
class _StoredCopies:
    target: str
    client: Client

    def all(self) -> list[Copy]:
        address = GcsAddress.parse(self.target)
        stem = GcsAddress.parse(previous_target_of(self.target, "")).path.rpartition(".")[0]
        found = (
            Copy.of(self.target, f"gs://{address.bucket}/{blob.name}", blob.time_created)
            for blob in self.client.list_blobs(address.bucket, prefix=stem)
        )
        return [copy for copy in found if copy]

    def make(self, generation: str, content: Path, address: str) -> None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        source, copy = GcsAddress.parse(self.target), GcsAddress.parse(address)
        bucket = self.client.bucket(source.bucket)
        blob, token = bucket.blob(source.path, generation=int(generation)), None
        try:
            while True:
                token, *_ = bucket.blob(copy.path).rewrite(
                    blob, token=token, if_source_generation_match=int(generation)
                )
                if token is None:
                    return
        except (NotFound, PreconditionFailed) as error:
            raise ReplacedMeanwhileError from error

    def remove(self, copy: Copy) -> None:
        from google.api_core.exceptions import NotFound

        address = GcsAddress.parse(copy.address)
        with suppress(NotFound):
            self.client.bucket(address.bucket).blob(address.path).delete()


@dataclass(frozen=True, slots=True)
class _LocalCopies:
    target: str

    def all(self) -> list[Copy]:
        folder = Path(self.target).parent
        found = []
        for name in os.listdir(folder) if folder.is_dir() else ():
            # A file that is not a copy is not looked at, and one that another landing removes is not there.
            with suppress(FileNotFoundError):
                if copy := Copy.of(str(Path(self.target)), str(folder / name), _UNKNOWN):
                    made = datetime.fromtimestamp(os.stat(copy.address).st_mtime, UTC)
                    found.append(replace(copy, made=made))
        return found

    def make(self, generation: str, content: Path, address: str) -> None:
        with content.open("rb") as source, WholeFile(Path(address)).writing() as file:
            shutil.copyfileobj(source, file)

    def remove(self, copy: Copy) -> None:
        Path(copy.address).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class KeptBefore:
    """Keeps what a file holds before the first answers to some questions land in it.

    :param kept: how long; copies that are older are removed.
    """

    target: str
    copies: FileCopies
    questions: Sequence[str]
    kept: timedelta
    log: Log

    def keep(self, database: DuckDBPyConnection, before: FileRows, generation: str, content: Path) -> None:
        """Copy the file for each question that none of its rows answers yet, unless it is empty.

        :param before: its rows.
        :param content: the file on this worker's disk.

        Raises what :meth:`FileCopies.make` raises.
        """
        ((rows, *answered),) = database.execute(
            f"SELECT {', '.join(['COUNT(*)', *self._answered(before)])} FROM ({before.query})"
        ).fetchall()
        for question, count in zip(self.questions, answered, strict=True):
            if rows and not count:
                copy = previous_target_of(self.target, question)
                self.copies.make(generation, content, copy)
                self.log.info(
                    "%s is copied to %s before the first answers to the question %s land",
                    self.target,
                    copy,
                    question,
                )
        for old in self.copies.all():
            if old.made + self.kept < utc_now():
                self.copies.remove(old)
                self.log.info("The copy %s is older than keep_previous, and is removed", old.address)

    def _answered(self, before: FileRows) -> list[str]:
        column = next((name for name in before.columns if name.lower() == QUESTION_COLUMN), None)
        if column is None:
            return ["0" for _ in self.questions]
        return [
            f"COUNT(*) FILTER (starts_with({identifier(column)}, {text_literal(question[:SHORT_QUESTION])}))"
            for question in self.questions
        ]
