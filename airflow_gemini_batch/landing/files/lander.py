"""Landing in files: answers in JSON Lines files on Cloud Storage → one Parquet or JSON Lines file, merged by key."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import GeminiBatchError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.database import identifier
from airflow_gemini_batch.landing.files.formats import TargetFormat, format_of_file
from airflow_gemini_batch.landing.files.matching import TIME, StagedRows, staged_rows
from airflow_gemini_batch.landing.files.merge import Columns, FileRows, Merge
from airflow_gemini_batch.landing.files.storage import ReplacedMeanwhileError, TargetFile, target_file
from airflow_gemini_batch.landing.files.vectors import VectorColumn, warn_of_shortened
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport, check_target_columns, newer_wins
from airflow_gemini_batch.outputs.classify import Outcome

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
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
        _FileLanding(rows, rows.plan, rows.database, log).land(answers, failures)
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

    :param generation: 0 when there is no file.
    :param rows: its rows; ``None`` when there is no file.
    """

    generation: int
    rows: FileRows | None

    @property
    def columns(self) -> Columns:
        return self.rows.columns if self.rows else {}


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that is ready to take the place of a generation."""

    target: _Target
    generation: int
    path: Path


@dataclass(frozen=True, slots=True)
class _FileLanding:
    """Lands staged rows."""

    staged: StagedRows
    plan: LandingPlan
    database: DuckDBPyConnection
    log: Log

    def land(self, answers: _Target, failures: _Target) -> None:
        """Merge the rows into both files, again when another writer replaced one meanwhile.

        Both are prepared before either is put in place.
        """
        for _ in range(_TRIES):
            prepared = [self._prepare_answers(answers), self._prepare_failures(failures)]
            try:
                for one in filter(None, prepared):
                    one.target.file.put(one.path, one.generation)
            except ReplacedMeanwhileError:
                self.log.info("Another writer replaced %s or %s; merging again", answers.name, failures.name)
            else:
                return
        raise GeminiBatchError(
            f"{answers.name} or {failures.name} was replaced by another writer {_TRIES} times while answers were "
            "merged into it: let one task at a time land there (a pool of one slot, or max_active_tis_per_dag=1)"
        )

    def _prepare_answers(self, target: _Target) -> _Prepared | None:
        rows = self.staged.answers(target.format)
        before = self._read(target, rows)
        time = TIME if self.plan.bookkeeping else None
        # When the present answers came; the failures have to know.
        known = f"{self.staged.table} LIMIT 0"
        if before.rows and time in before.columns:
            known = f"({before.rows.query})"
        keys = ", ".join(map(identifier, self.plan.key))
        self.database.execute(
            f"CREATE OR REPLACE TEMP TABLE landed AS SELECT {keys}, {TIME} AS landed_time FROM {known}"
        )
        return self._prepare(target, rows, before, time)

    def _prepare_failures(self, target: _Target) -> _Prepared | None:
        rows = self.staged.failures(target.format)
        current = f"""SELECT rows.* FROM ({rows.query}) AS rows
WHERE NOT EXISTS (
  FROM landed WHERE {self._same_key("landed", "rows")} AND NOT {newer_wins("rows.failed_time", "landed_time")}
)"""
        before = self._read(target, rows)
        failed_time = "old.failed_time" if "failed_time" in before.columns else "NULL"
        answered_now = f"""EXISTS (
  FROM {self.staged.table} AS staged
  WHERE batch_outcome = '{Outcome.OK}' AND {self._same_key("staged", "old")}
    AND {newer_wins(f"staged.{TIME}", failed_time)}
)"""
        return self._prepare(target, FileRows(current, rows.columns), before, "failed_time", answered_now)

    def _read(self, target: _Target, rows: FileRows) -> _Before:
        """Read a file that rows are to land in.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when it can't take them.
        """
        folder = Path(tempfile.mkdtemp(dir=self.staged.folder))
        copy = folder / "old"
        generation = target.file.fetch(copy)
        if not generation:
            return _Before(generation, None)
        present = target.format.read(self.database, copy, target.name, rows.columns, folder, target.vectors)
        check_target_columns(target.name, present.columns, rows.columns, self.plan.key, hint="move the file")
        return _Before(generation, present)

    def _prepare(
        self, target: _Target, rows: FileRows, before: _Before, time: str | None, gone: str = "FALSE"
    ) -> _Prepared | None:
        """Write the file that is to be; returns ``None`` when it is as it is already."""
        folder = Path(tempfile.mkdtemp(dir=self.staged.folder))
        if before.rows is not None:
            merge = Merge(rows, before.rows, self.plan.key, time, gone)
            if not merge.changes(self.database):
                self.log.info("%s holds all of it already", target.name)
                return None
            rows = merge.rows.kept(self.database, folder / "merged.parquet")
        if target.vectors and target.vectors.dimensions is None:
            return None
        target.format.write(self.database, rows, self.plan.key, folder / "new", target.vectors)
        return _Prepared(target, before.generation, folder / "new")

    def _same_key(self, left: str, right: str) -> str:
        return " AND ".join(
            f"{left}.{identifier(name)} = {right}.{identifier(name)}" for name in self.plan.key
        )
