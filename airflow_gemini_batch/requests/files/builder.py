"""Request files out of rows, as a stream in constant memory: nothing is uploaded before every row was checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import orjson

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import key_text, text_of_key
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.values import is_null, text_of
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.requests.done import read_done_files
from airflow_gemini_batch.requests.files.importable import importable_template
from airflow_gemini_batch.requests.files.row_index import DONE, FAILED, NEW, REPEATED, RowIndex
from airflow_gemini_batch.requests.files.rows import Row, Rows
from airflow_gemini_batch.requests.files.shards import RequestFiles
from airflow_gemini_batch.requests.forms import FORMS
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BadRows, BuildPlan, BuildReport
from airflow_gemini_batch.requests.templates import BadRow, BadRowError

if TYPE_CHECKING:
    from google.cloud.storage import Client

_MOST_ROWS = 1000
_BATCH_BYTES = 1024 * 1024


def build_files(
    plan: BuildPlan,
    rows: Rows,
    destination: GcsAddress,
    client: Client,
    log: Log,
    *,
    done: Iterable[tuple[str, str]] | None = None,
    failed: Iterable[tuple[str, str]] = (),
) -> BuildReport:
    """Make one request of each row that is not done, and write them to a folder.

    It needs room on the worker's disk: as much as the requests take, and twice that when rows are left out.

    :param done: keys, as texts, and fingerprints of the rows that are done; by default those in the files that the
        plan's target names.
    :param failed: likewise of the rows whose request has failed for good.

    Raises :class:`.InvalidRequestError` for a template, columns or rows that can't become requests. That, and whatever
    the rows themselves raise, comes before anything is uploaded.
    """
    StorageObjects(client).check_destination(destination)
    plan = replace(plan, template=importable_template(plan.template, plan.family))
    if rows.columns is not None:
        plan.check_columns(rows.columns, where=rows.where)
    with (
        private_folder("build") as folder,
        RequestFiles(max_rows=plan.shard_rows, max_bytes=plan.shard_bytes) as all_files,
        RequestFiles(max_rows=plan.shard_rows, max_bytes=plan.shard_bytes) as new_files,
    ):
        index = RowIndex(folder)
        index.add_done(read_done_files(plan, client) if done is None else done)
        index.add_failed(failed)
        build = _Build(plan, all_files, index, compare=done is not None or plan.done_target is not None)
        build.read(rows.rows)
        index_rows = index.sort()
        if repeated := index_rows.states.count(REPEATED):
            lines = (
                line for line, state in zip(all_files, index_rows.states, strict=True) if state == REPEATED
            )
            keys = [text_of_key(orjson.loads(line)["key"]) for line in islice(lines, SHOWN_KEYS)]
            build.add_bad(BadRow.DUPLICATE_KEY, *keys, count=repeated)
        plan.check_rows(build.bad)
        files = all_files
        if any(index_rows.states):
            files = new_files
            files.write_all(
                line for line, state in zip(all_files, index_rows.states, strict=True) if state == NEW
            )
        plan.check_jobs(len(files), files.count)
        return BuildReport(
            sources=files.upload(client, destination, log),
            rows=build.rows,
            requests=len(files),
            done=index_rows.states.count(DONE),
            failed_before=index_rows.states.count(FAILED),
            bad=build.bad,
            prompt_characters=index_rows.characters,
            media=index_rows.media,
        )


class _Build:
    """Spools the requests of rows, and counts the rows that can't become one.

    :param compare: whether fingerprints are needed.
    """

    def __init__(self, plan: BuildPlan, files: RequestFiles, index: RowIndex, *, compare: bool) -> None:
        self._plan = plan
        self._files = files
        self._index = index
        self._compare = compare
        self._model = plan.model_key
        self._line_of = FORMS[plan.family].line
        self.rows = 0
        self.bad: dict[BadRow, BadRows] = {}

    def read(self, rows: Iterator[Row]) -> None:
        """Take all rows, many at a time: of large ones few, so that memory does not grow with their size."""
        columns = dict.fromkeys((*self._plan.key, *self._plan.template.columns))
        batch: list[Row] = []
        size = 0
        for row in rows:
            needed = row if len(row) <= len(columns) else {name: row.get(name) for name in columns}
            batch.append(needed)
            for value in needed.values():
                size += len(value) if type(value) is str else _size(value)
            if size >= _BATCH_BYTES or len(batch) >= _MOST_ROWS:
                self._take_batch(batch)
                batch, size = [], 0
        self._take_batch(batch)

    def _take_batch(self, rows: list[Row]) -> None:
        if rows:
            self._take(rows, self.rows + 1)
            self.rows += len(rows)

    def add_bad(self, reason: BadRow, *keys: str, count: int = 1) -> None:
        """Count rows that are bad for one reason; see :meth:`.BadRows.plus`."""
        self.bad[reason] = self.bad.get(reason, BadRows()).plus(count, keys)

    def _take(self, rows: list[Row], first: int) -> None:
        """Spool the requests of some rows.

        :param first: number of the first of them, counted from 1.
        """
        try:
            keys = self._keys(rows)
            filled = self._plan.template.fill_all(rows)
            lines = list(map(self._line_of, keys, filled.requests))
        except BadRowError as error:
            if len(rows) > 1:
                middle = len(rows) // 2
                self._take(rows[:middle], first)
                self._take(rows[middle:], first + middle)
                return
            without_key = error.reason is BadRow.NULL_KEY
            self.add_bad(error.reason, f"row {first}" if without_key else self._key(rows[0]))
            return
        fingerprints = (
            [fingerprint_of(self._model, request) for request in filled.requests] if self._compare else ()
        )
        self._index.add(keys, fingerprints, filled.characters, filled.media)
        self._files.write(lines)

    def _keys(self, rows: list[Row]) -> list[str]:
        if len(self._plan.key) == 1:
            (column,) = self._plan.key
            keys = [row.get(column) for row in rows]
            if set(map(type, keys)) == {str}:
                return cast("list[str]", keys)
        return [self._key(row) for row in rows]

    def _key(self, row: Row) -> str:
        values = [row.get(column) for column in self._plan.key]
        if any(map(is_null, values)):
            raise BadRowError(BadRow.NULL_KEY)
        return key_text(values)


def _size(value: Any) -> int:
    """Return about how many bytes a value takes in a request."""
    if isinstance(value, (str, bytes)):
        return len(value)
    return len(text_of(value)) if isinstance(value, (list, tuple, Mapping)) else 0
