"""Landing in files: answers in JSON Lines files on Cloud Storage → one Parquet or JSON Lines file, merged by key.

The file is replaced in one step: a reader sees the old one or the new one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_gemini_batch.core.addresses import GcsAddress, parse_address
from airflow_gemini_batch.core.columns import FAILED_COLUMNS, TIMES_FAILED_COLUMN
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.disk.whole_file import ReplacedMeanwhileError, WholeFile
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError, as_invalid_request
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.database import identifier
from airflow_gemini_batch.landing.files.formats import TargetFormat, format_of_file
from airflow_gemini_batch.landing.files.matching import TIME, StagedRows, staged_rows
from airflow_gemini_batch.landing.files.merge import Columns, FileRows, Merge, same_key
from airflow_gemini_batch.landing.files.vectors import VectorColumn, warn_of_shortened
from airflow_gemini_batch.landing.plan import (
    LandingPlan,
    LandingReport,
    check_target_columns,
    newer_wins,
    times_failed,
)
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from google.cloud.storage import Client

_TRIES = 5


def land_files(
    plan: LandingPlan,
    manifests: Sequence[Manifest],
    target: str,
    failed: str,
    storage_client: Client,
    log: Log,
) -> LandingReport:
    """Land the answers of jobs in files, in constant memory; the rows pass through the worker's disk.

    The file of answers has the key's columns (text), those of the answer and of the bookkeeping; the file of failures
    the key's and :data:`~airflow_gemini_batch.core.columns.FAILED_COLUMNS`; both are sorted by key. Landing twice
    changes nothing, and answers older than those in the target leave them as they are. How values are written, the
    classes in :mod:`airflow_gemini_batch.landing.files.formats` say.

    :param target: file for the answers: ``gs://…`` or a local path. Made when it is absent.
    :param failed: the same for the rows without a usable answer.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for requests without a key of their own and
    for files that can't take the answers, before anything is written, and
    :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    answers_format, failures_format = format_of_file(target), format_of_file(failed)
    with staged_rows(plan, manifests, StorageObjects(storage_client), log, answers_format) as rows:
        if rows.vectors:
            query = f"SELECT COUNT(*) FILTER (batch_shortened) FROM {rows.table}"
            ((shortened,),) = rows.database.execute(query).fetchall()
            warn_of_shortened(log, plan, shortened)
        answers = _Target(target, target_file(target, storage_client), answers_format, rows.vectors)
        failures = _Target(failed, target_file(failed, storage_client), failures_format)
        _FileLanding(rows, log).land(answers, failures)
    return LandingReport(target, failed, rows.tally.counts, rows.tally.samples)


@dataclass(frozen=True, slots=True)
class _Target:
    """A file that rows land in.

    :param vectors: its column of vectors; ``None`` if it has none.
    """

    name: str
    file: TargetFile
    format: TargetFormat
    vectors: VectorColumn | None = None


@dataclass(frozen=True, slots=True)
class _Before:
    """A target as it is before rows land in it.

    :param generation: empty when there is no file.
    :param rows: its rows; ``None`` when there is no file.
    """

    generation: str
    rows: FileRows | None

    @property
    def columns(self) -> Columns:
        return self.rows.columns if self.rows else {}


@dataclass(frozen=True, slots=True)
class _FileLanding:
    """Lands staged rows."""

    staged: StagedRows
    log: Log

    def land(self, answers: _Target, failures: _Target) -> None:
        """Merge the rows into both files, again when another writer replaced one meanwhile.

        Both are prepared before either is put in place.
        """
        for _ in range(_TRIES):
            prepared = [self._prepare_answers(answers), self._prepare_failures(failures)]
            try:
                for put in filter(None, prepared):
                    put()
            except ReplacedMeanwhileError:
                self.log.info("Another writer replaced %s or %s; merging again", answers.name, failures.name)
            else:
                return
        raise GeminiBatchError(
            f"{answers.name} or {failures.name} was replaced by another writer {_TRIES} times while answers were "
            "merged into it: let one task at a time land there (a pool of one slot, or max_active_tis_per_dag=1)"
        )

    def _prepare_answers(self, target: _Target) -> Callable[[], None] | None:
        rows = self.staged.answers(target.format)
        before = self._read(target, rows.columns)
        time = TIME if self.staged.plan.bookkeeping else None
        # When the present answers came; the failures have to know.
        known = f"{self.staged.table} LIMIT 0"
        if before.rows and time in before.columns:
            known = f"({before.rows.query})"
        keys = ", ".join(map(identifier, self.staged.plan.key))
        self.staged.database.execute(
            f"CREATE OR REPLACE TEMP TABLE landed AS SELECT {keys}, {TIME} AS landed_time FROM {known}"
        )
        return self._prepare(target, rows, before, time)

    def _prepare_failures(self, target: _Target) -> Callable[[], None] | None:
        rows = self.staged.failures(target.format)
        columns = {**rows.columns, TIMES_FAILED_COLUMN: FAILED_COLUMNS[TIMES_FAILED_COLUMN]}
        before = self._read(target, columns)
        times = times_failed(
            lambda name: f"rows.{identifier(name)}",
            lambda name: f"old.{identifier(name)}" if name in before.columns else "NULL",
        )
        old = f"({before.rows.query})" if before.rows else f"({rows.query} LIMIT 0)"
        current = f"""SELECT rows.*, CAST({times} AS BIGINT) AS {TIMES_FAILED_COLUMN}
FROM ({rows.query}) AS rows
LEFT JOIN {old} AS old ON {same_key(self.staged.plan.key, "old", "rows")}
WHERE NOT EXISTS (
  FROM landed WHERE {same_key(self.staged.plan.key, "landed", "rows")}
    AND NOT {newer_wins("rows.failed_time", "landed_time")}
)"""
        failed_time = "old.failed_time" if "failed_time" in before.columns else "NULL"
        answered_now = f"""EXISTS (
  FROM {self.staged.table} AS staged
  WHERE batch_outcome = '{Outcome.OK}' AND {same_key(self.staged.plan.key, "staged", "old")}
    AND {newer_wins(f"staged.{TIME}", failed_time)}
)"""
        return self._prepare(target, FileRows(current, columns), before, "failed_time", answered_now)

    def _read(self, target: _Target, columns: Columns) -> _Before:
        """Read a file that rows are to land in, once it is sure that it can take them."""
        folder = Path(tempfile.mkdtemp(dir=self.staged.folder))
        copy = folder / "old"
        generation = target.file.fetch(copy)
        if not generation:
            return _Before(generation, None)
        present = target.format.read(self.staged.database, copy, target.name, columns, folder, target.vectors)
        check_target_columns(
            target.name, present.columns, columns, self.staged.plan.key, hint="move the file"
        )
        return _Before(generation, present)

    def _prepare(
        self, target: _Target, rows: FileRows, before: _Before, time: str | None, gone: str = "FALSE"
    ) -> Callable[[], None] | None:
        """Write the file that is to be and return what puts it in place; ``None`` when it is there already."""
        folder = Path(tempfile.mkdtemp(dir=self.staged.folder))
        if before.rows is not None:
            merge = Merge(rows, before.rows, self.staged.plan.key, time, gone)
            if not merge.changes(self.staged.database):
                self.log.info("%s holds all of it already", target.name)
                return None
            rows = merge.rows.kept(self.staged.database, folder / "merged.parquet")
        if target.vectors and target.vectors.dimensions is None:
            return None
        target.format.write(self.staged.database, rows, self.staged.plan.key, folder / "new", target.vectors)
        return partial(target.file.put, folder / "new", before.generation)


class TargetFile(Protocol):
    """A file on Cloud Storage or on a disk, there or not."""

    def fetch(self, copy: Path) -> str:
        """Copy the file and return its generation; empty when there is none."""

    def put(self, file: Path, generation: str) -> None:
        """Put a file in the place of a generation; raises :class:`.ReplacedMeanwhileError` when there is another."""


def target_file(target: str, client: Client) -> TargetFile:
    """Return the file that a ``gs://`` address or a local path names."""
    if "://" not in target:
        return WholeFile(Path(target))
    with as_invalid_request():
        address = parse_address(target)
    if not isinstance(address, GcsAddress):
        raise InvalidRequestError(f"{target} is not a file: give gs://BUCKET/PATH or a local path")
    return _StoredFile(address, client)


@dataclass(frozen=True, slots=True)
class _StoredFile:
    address: GcsAddress
    client: Client

    def fetch(self, copy: Path) -> str:
        blob = self.client.bucket(self.address.bucket).get_blob(self.address.path)
        if blob is None:
            return ""
        blob.download_to_filename(str(copy), if_generation_match=blob.generation)
        return str(blob.generation)

    def put(self, file: Path, generation: str) -> None:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        blob = self.client.bucket(self.address.bucket).blob(self.address.path)
        try:
            blob.upload_from_filename(str(file), if_generation_match=int(generation or 0))
        except PreconditionFailed as error:
            raise ReplacedMeanwhileError from error
        except NotFound:
            raise InvalidRequestError(f"target {self.address}: the bucket does not exist") from None
