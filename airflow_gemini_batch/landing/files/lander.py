"""Landing in files: answers in JSON Lines files on Cloud Storage → one Parquet or JSON Lines file, merged by key."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.exceptions import GeminiBatchError, InvalidRequestError
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.files.database import connect, identifier
from airflow_gemini_batch.landing.files.jsonl import jsonl_rows
from airflow_gemini_batch.landing.files.matching import TIME, answers, failures, stage_rows, staged
from airflow_gemini_batch.landing.files.merge import FileRows, Merge, check_columns, parquet_rows, write
from airflow_gemini_batch.landing.files.places import FilePlace, ReplacedMeanwhileError, file_place
from airflow_gemini_batch.landing.files.vectors import (
    VectorColumn,
    vector_column,
    vectors_aside,
    without_vectors,
)
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport, newer_wins
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.requests.sources import FileKind, file_kind

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
    changes nothing, and answers older than those in the target leave them as they are. In Parquet, what is nested is
    JSON text and a time is a UTC timestamp; in JSON Lines the one is nested and the other ISO 8601. A vector
    is a list of fixed size of 32-bit floats in Parquet, and a list in JSON Lines.

    :param target: ``.parquet`` or ``.jsonl`` file for the answers: ``gs://…`` or a local path. Made when it is absent.
    :param failed: the same for the rows without a usable answer.

    Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` for requests without a key of their own and
    for files that can't take the answers, before anything is written, and
    :class:`~airflow_gemini_batch.exceptions.OutputNotReadyError` for answers that are gone.
    """
    kinds = {name: _kind(name) for name in (target, failed)}
    with tempfile.TemporaryDirectory(prefix="gemini-batch-landing-") as name:
        folder = Path(name)
        with connect(folder) as database, vectors_aside(plan, database, folder, kinds[target]) as vectors:
            plan = without_vectors(plan)
            tally = stage_rows(
                plan, manifests, StorageObjects(storage_client), database, folder, log, vectors
            )
            column = vector_column(plan, database, staged(folder), vectors) if vectors else None
            landing = _FileLanding(plan, database, folder, storage_client, log, column)
            landing.land(target, kinds[target], failed, kinds[failed])
    return LandingReport(target, failed, tally.counts, tally.samples)


def _kind(path: str) -> FileKind:
    try:
        kind = file_kind(path)
    except ValueError:
        kind = None
    if kind not in (FileKind.PARQUET, FileKind.JSON_LINES) or path.lower().endswith(".gz"):
        raise InvalidRequestError(
            f"target {path}: answers land in a .parquet or .jsonl file, or in a bq:// table"
        )
    return kind


@dataclass(frozen=True, slots=True)
class _Found:
    """A file as it is before answers land in it.

    :param generation: 0 when there is none.
    :param rows: its rows, ``None`` when there is none.
    """

    place: FilePlace
    generation: int
    rows: FileRows | None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A file that is ready to take the place of a generation."""

    place: FilePlace
    generation: int
    file: Path


@dataclass(frozen=True, slots=True)
class _FileLanding:
    """Lands the staged rows of a folder.

    :param vectors: the column of answers that vectors land in; ``None`` where there are none.
    """

    plan: LandingPlan
    database: DuckDBPyConnection
    folder: Path
    client: Client
    log: Log
    vectors: VectorColumn | None

    def land(self, target: str, target_kind: FileKind, failed: str, failed_kind: FileKind) -> None:
        """Merge the rows into both files, anew when somebody else wrote one meanwhile.

        Both are prepared before either is put in place.
        """
        for _ in range(_TRIES):
            prepared = [
                self._prepare_answers(target, target_kind),
                self._prepare_failures(failed, failed_kind),
            ]
            try:
                for one in filter(None, prepared):
                    one.place.put(one.file, one.generation)
            except ReplacedMeanwhileError:
                self.log.info("Somebody else wrote %s or %s meanwhile; merging again", target, failed)
            else:
                return
        raise GeminiBatchError(
            f"{target} or {failed} was written by somebody else {_TRIES} times while answers were merged into it: "
            "let one task at a time land there (a pool of one slot, or max_active_tis_per_dag=1)"
        )

    def _prepare_answers(self, target: str, kind: FileKind) -> _Prepared | None:
        rows = answers(self.plan, self.folder, kind)
        found = self._find(target, kind, rows, self.vectors)
        time = TIME if self.plan.bookkeeping else None
        # When the answers came that are there already; the failures have to know.
        known = f"{staged(self.folder)} LIMIT 0"
        if found.rows and time in found.rows.columns:
            known = f"({found.rows.query})"
        keys = ", ".join(map(identifier, self.plan.key))
        self.database.execute(
            f"CREATE OR REPLACE TEMP TABLE landed AS SELECT {keys}, {TIME} AS landed_time FROM {known}"
        )
        return self._prepare(target, kind, rows, found, time, vectors=self.vectors)

    def _prepare_failures(self, failed: str, kind: FileKind) -> _Prepared | None:
        rows = failures(self.plan, self.folder, kind)
        current = f"""SELECT rows.* FROM ({rows.query}) AS rows
WHERE NOT EXISTS (
  FROM landed WHERE {self._same_key("landed", "rows")} AND NOT {newer_wins("rows.failed_time", "landed_time")}
)"""
        found = self._find(failed, kind, rows)
        failed_time = "old.failed_time" if found.rows and "failed_time" in found.rows.columns else "NULL"
        answered_now = f"""EXISTS (
  FROM {staged(self.folder)} AS staged
  WHERE batch_outcome = '{Outcome.OK}' AND {self._same_key("staged", "old")}
    AND {newer_wins(f"staged.{TIME}", failed_time)}
)"""
        return self._prepare(
            failed, kind, FileRows(current, rows.columns), found, "failed_time", answered_now
        )

    def _find(
        self, target: str, kind: FileKind, rows: FileRows, vectors: VectorColumn | None = None
    ) -> _Found:
        """Read a file that rows are to land in.

        Raises :class:`~airflow_gemini_batch.exceptions.InvalidRequestError` when it can't take them.
        """
        place = file_place(target, self.client)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        old = folder / "old"
        generation = place.fetch(old)
        if not generation:
            return _Found(place, generation, None)
        thin = vectors.put_aside(old, folder / "thin", kind, target) if vectors else old
        if kind is FileKind.PARQUET:
            present = parquet_rows(self.database, thin, target)
        else:
            present = jsonl_rows(self.database, thin, rows.columns, target, folder)
        if vectors and thin != old:
            present = vectors.marked(present)
        check_columns(target, present.columns, rows.columns, self.plan.key)
        return _Found(place, generation, present)

    def _prepare(
        self,
        target: str,
        kind: FileKind,
        rows: FileRows,
        found: _Found,
        time: str | None,
        gone: str = "FALSE",
        vectors: VectorColumn | None = None,
    ) -> _Prepared | None:
        """Write the file that is to be, ``None`` when it is as it is already."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        if found.rows is not None:
            merge = Merge(rows, found.rows, self.plan.key, time, gone)
            if not merge.changes(self.database):
                self.log.info("%s holds all of it already", target)
                return None
            rows = merge.rows.kept(self.database, folder / "merged.parquet")
        if vectors is None:
            write(self.database, rows, self.plan.key, folder / "new", kind)
        elif vectors.dimensions is None:
            return None
        else:
            vectors.write(self.database, rows, self.plan.key, folder / "new", kind)
        return _Prepared(found.place, found.generation, folder / "new")

    def _same_key(self, one: str, other: str) -> str:
        return " AND ".join(
            f"{one}.{identifier(name)} = {other}.{identifier(name)}" for name in self.plan.key
        )
