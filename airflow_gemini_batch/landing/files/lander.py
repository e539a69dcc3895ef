"""Landing in files: answers in JSON Lines files on Cloud Storage → one Parquet or JSON Lines file, merged by key.

The file is replaced in one step: a reader sees the old one or the new one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from airflow_gemini_batch.landing.files.formats import Layout, TargetFormat, Write, format_of_file
from airflow_gemini_batch.landing.files.key_ranges import KeyRange
from airflow_gemini_batch.landing.files.matching import staged_rows
from airflow_gemini_batch.landing.files.merge import Columns, FileRows, Merge, same_key
from airflow_gemini_batch.landing.files.portions import STAGED, TIME, Portions
from airflow_gemini_batch.landing.files.previous import KeptBefore, file_copies
from airflow_gemini_batch.landing.files.vectors import VectorColumn, warn_of_shortened
from airflow_gemini_batch.landing.plan import (
    LandingPlan,
    LandingReport,
    check_target_columns,
    newer_wins,
    times_failed,
)
from airflow_gemini_batch.landing.previous import questions_of
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.sql.engine import identifier

if TYPE_CHECKING:
    import pyarrow as pa
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
    with staged_rows(plan, manifests, StorageObjects(storage_client), log, format_of_file(target)) as rows:
        land_portions(rows, target, failed, storage_client, log, questions_of(manifests))
        warn_of_shortened(log, plan, rows.shortened)
    return LandingReport(target, failed, rows.tally.counts, rows.tally.samples)


def land_portions(
    rows: Portions, target: str, failed: str, storage_client: Client, log: Log, questions: Sequence[str]
) -> None:
    """Merge rows into files; see :func:`land_files`.

    :param questions: ids of what they answer.
    """
    answers, failures = (
        _Target(name, target_file(name, storage_client), format_of_file(name)) for name in (target, failed)
    )
    kept = None
    if rows.plan.keep_previous:
        copies = file_copies(target, storage_client)
        kept = KeptBefore(target, copies, questions, rows.plan.keep_previous, log)
    _FileLanding(rows, log, answers, failures, kept).land()


@dataclass(frozen=True, slots=True)
class _Target:
    """A file that rows land in."""

    name: str
    file: TargetFile
    format: TargetFormat


@dataclass(frozen=True, slots=True)
class _FileLanding:
    """Lands staged rows."""

    staged: Portions
    log: Log
    answers: _Target
    failures: _Target
    kept_before: KeptBefore | None

    def land(self) -> None:
        """Merge the rows into both files, again when another writer replaced one meanwhile.

        Both are written before either is put in place.
        """
        for _ in range(_TRIES):
            try:
                for put in self._write():
                    put()
            except ReplacedMeanwhileError:
                self.log.info(
                    "Another writer replaced %s or %s; merging again", self.answers.name, self.failures.name
                )
            else:
                return
        raise GeminiBatchError(
            f"{self.answers.name} or {self.failures.name} was replaced by another writer {_TRIES} times while answers "
            "were merged into it: let one task at a time land there (a pool of one slot, or max_active_tis_per_dag=1)"
        )

    def _write(self) -> list[Callable[[], None]]:
        """Write the files that are to be, and return what puts those in place that are not there already."""
        plan = self.staged.plan
        good, bad = self.staged.answers(self.answers.format), self.staged.failures(self.failures.format)
        answers = self._merging(self.answers, good.columns, TIME if plan.bookkeeping else None)
        if self.kept_before and answers.before:
            content = answers.folder / "old"
            self.kept_before.keep(self.staged.database, answers.before, answers.generation, content)
        times = {TIMES_FAILED_COLUMN: FAILED_COLUMNS[TIMES_FAILED_COLUMN]}
        failures = self._merging(self.failures, {**bad.columns, **times}, "failed_time")
        dimensions = self.staged.dimensions if plan.embeds else None
        with ExitStack() as stack:
            if dimensions:
                (name,) = (column.name for column in plan.columns if column.path == "values")
                vector = VectorColumn(name, self.answers.name, dimensions)
                stack.enter_context(answers.writing(vector))
            elif not plan.embeds:
                stack.enter_context(answers.writing())
            stack.enter_context(failures.writing())
            for keys in self.staged.portions([one.before for one in (answers, failures) if one.before]):
                old_answers, old_failures = answers.old(keys), failures.old(keys)
                answers.add(good, old_answers, partial(self.staged.good_rows, self.answers.format))
                current = FileRows(self._current(bad, old_answers, old_failures), failures.landing)
                failures.add(current, old_failures, gone=self._answered_now(old_failures))
        return [put for merging in (answers, failures) if (put := merging.put(self.log))]

    def _merging(self, target: _Target, columns: Columns, time: str | None) -> _Merging:
        """Read a file that rows are to land in, once it is sure that it can take them."""
        folder = Path(tempfile.mkdtemp(dir=self.staged.folder))
        generation, before = target.file.fetch(folder / "old"), None
        if generation:
            before = target.format.read(self.staged.database, folder / "old", target.name, columns, folder)
            key = self.staged.plan.key
            check_target_columns(target.name, before.columns, columns, key, hint="move the file")
        return _Merging(self.staged, target, folder, generation, before, columns, time)

    def _current(self, bad: FileRows, old_answers: FileRows | None, old_failures: FileRows | None) -> str:
        """Return the query for the rows without an answer that land, with the number of runs that they failed in.

        A row whose answer in the target is newer does not land.
        """
        has, key = old_failures.columns if old_failures else {}, self.staged.plan.key
        times = times_failed(
            lambda name: f"rows.{identifier(name)}",
            lambda name: f"old.{identifier(name)}" if name in has else "NULL",
        )
        old = f"({old_failures.query})" if old_failures else f"({bad.query} LIMIT 0)"
        landed = old_answers.query if old_answers and TIME in old_answers.columns else None
        newer = "FALSE"
        if landed and self.staged.plan.bookkeeping:
            newer = f"""EXISTS (
  FROM ({landed}) AS landed
  WHERE {same_key(key, "landed", "rows")} AND NOT {newer_wins("rows.failed_time", f"landed.{TIME}")}
)"""
        return f"""SELECT rows.*, CAST({times} AS BIGINT) AS {TIMES_FAILED_COLUMN}
FROM ({bad.query}) AS rows
LEFT JOIN {old} AS old ON {same_key(key, "old", "rows")}
WHERE NOT {newer}"""

    def _answered_now(self, old_failures: FileRows | None) -> str:
        """Return the condition that a row of the file of failures, ``old``, has an answer now."""
        failed_time = "old.failed_time" if old_failures and "failed_time" in old_failures.columns else "NULL"
        return f"""EXISTS (
  FROM {STAGED} AS staged
  WHERE batch_outcome = '{Outcome.OK}' AND {same_key(self.staged.plan.key, "staged", "old")}
    AND {newer_wins(f"staged.{TIME}", failed_time)}
)"""


@dataclass(slots=True)
class _Merging:
    """A target, and the file that is to be in its place.

    :param generation: of the target; empty when there is no file.
    :param before: its rows; ``None`` when there is no file.
    :param landing: types of the columns that land.
    :param time: as of :class:`.Merge`.
    """

    staged: Portions
    target: _Target
    folder: Path
    generation: str
    before: FileRows | None
    landing: Columns
    time: str | None
    _write: Write | None = None
    _has_vectors: bool = False
    _changes: bool = False

    def old(self, keys: KeyRange) -> FileRows | None:
        """Return the rows of the target whose keys are of a range."""
        if self.before is None:
            return None
        condition = keys.condition([identifier(name) for name in self.staged.plan.key])
        return FileRows(f"SELECT * FROM ({self.before.query}) WHERE {condition}", self.before.columns)

    @contextmanager
    def writing(self, vector: VectorColumn | None = None) -> Iterator[None]:
        """Let :meth:`add` write rows to a file; without it they are left out."""
        empty = FileRows("", {})
        columns = Merge(FileRows("", self.landing), self.before or empty, self.staged.plan.key).columns
        layout = Layout(columns, self.staged.plan.key, vector)
        self._has_vectors = vector is not None
        with self.target.format.writing(self.staged.database, self.folder / "new", layout) as self._write:
            yield

    def add(
        self,
        new: FileRows,
        old: FileRows | None,
        ready: Callable[[], pa.Table] | None = None,
        gone: str = "FALSE",
    ) -> None:
        """Merge the rows of a portion.

        :param ready: gives the new rows in the order of their keys, where they are there already.
        """
        if self._write is None:
            return
        database, key = self.staged.database, self.staged.plan.key
        order = ", ".join(map(identifier, key))
        if old is None:
            rows = ready() if ready else database.sql(f"{new.query} ORDER BY {order}").to_arrow_table()
            # Without any vector the length of those that may come is not known.
            self._changes = self._changes or len(rows) > 0 or not self._has_vectors
        else:
            merge = Merge(new, old, key, self.time, gone)
            rows = database.sql(merge.query).to_arrow_table()
            self._changes = (
                self._changes
                or len(merge.columns) > len(old.columns)
                or not rows.equals(database.sql(f"{old.query} ORDER BY {order}").to_arrow_table())
            )
        self._write(rows)

    def put(self, log: Log) -> Callable[[], None] | None:
        """Return what puts the new file in place; ``None`` if it would be the same."""
        if self._changes:
            return partial(self.target.file.put, self.folder / "new", self.generation)
        if self._write:
            log.info("%s holds all of it already", self.target.name)
        return None


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
