"""Request files out of rows, as a stream in constant memory: nothing is uploaded before every row was checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

import orjson

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.keys import text_of_key
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.progress import Progress
from airflow_gemini_batch.disk.private_folder import private_folder
from airflow_gemini_batch.gcp.objects import StorageObjects
from airflow_gemini_batch.requests.done import read_done_files
from airflow_gemini_batch.requests.files.importable import importable_template
from airflow_gemini_batch.requests.files.maker import LineMaker, MadeLines
from airflow_gemini_batch.requests.files.pieces import PIECE_BYTES, Piece
from airflow_gemini_batch.requests.files.row_index import DONE, FAILED, NEW, REPEATED, RowIndex
from airflow_gemini_batch.requests.files.rows import Rows
from airflow_gemini_batch.requests.files.shards import RequestFiles
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BadRows, BuildPlan, BuildReport
from airflow_gemini_batch.requests.templates import BadRow

if TYPE_CHECKING:
    from google.cloud.storage import Client

# Most of the work takes no Python, so that a second thread has a processor of its own.
_THREADS = 2
_AHEAD = 2

Made = TypeVar("Made")


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
    maker = LineMaker(plan, compare=done is not None or plan.done_target is not None)
    with (
        private_folder("build") as folder,
        RequestFiles(max_rows=plan.shard_rows, max_bytes=plan.shard_bytes) as all_files,
        RequestFiles(max_rows=plan.shard_rows, max_bytes=plan.shard_bytes) as new_files,
    ):
        index = RowIndex(folder)
        index.add_done(read_done_files(plan, client) if done is None else done)
        index.add_failed(failed)
        count, bad = _spool(maker, rows.pieces, all_files, index, Progress(log, "building requests"))
        index_rows = index.sort()
        of_rows = zip(all_files, index_rows.states, strict=True)
        if repeated := index_rows.states.count(REPEATED):
            lines = (line for line, state in of_rows if state == REPEATED)
            keys = [text_of_key(orjson.loads(line)["key"]) for line in islice(lines, SHOWN_KEYS)]
            bad[BadRow.DUPLICATE_KEY] = BadRows().plus(repeated, keys)
        plan.check_rows(bad)
        files = all_files
        if any(index_rows.states):
            files = new_files
            of_rows = zip(all_files, index_rows.states, strict=True)
            files.write_all(line for line, state in of_rows if state == NEW)
        plan.check_jobs(len(files), files.count)
        return BuildReport(
            sources=files.upload(client, destination, log),
            rows=count,
            requests=len(files),
            done=index_rows.states.count(DONE),
            failed_before=index_rows.states.count(FAILED),
            bad=bad,
            prompt_characters=index_rows.characters,
            media=index_rows.media,
        )


def _spool(
    maker: LineMaker, pieces: Iterator[Piece], files: RequestFiles, index: RowIndex, progress: Progress
) -> tuple[int, dict[BadRow, BadRows]]:
    """Write the lines of all rows, and return how many rows there are, and which can't become a request."""
    count = 0
    bad: dict[BadRow, BadRows] = {}

    def begin(piece: Piece) -> tuple[list[MadeLines], Iterator[MadeLines]]:
        """Make the first lines of a piece, mostly all; return them, and what makes the others."""
        made = maker.make(piece.read())
        return list(islice(made, 1)), made

    for made in chain.from_iterable(chain(*both) for both in _in_order(begin, pieces)):
        for reason, row in made.bad:
            name = row if isinstance(row, str) else f"row {count + 1 + row}"
            bad[reason] = bad.get(reason, BadRows()).plus(1, [name])
        count += made.rows
        index.add_records(made.records)
        files.write_column(made.lines)
        progress.tell(count, files.size)
    return count, bad


def _in_order(make: Callable[[Piece], Made], pieces: Iterator[Piece]) -> Iterator[Made]:
    """Yield what is made of pieces in their order, several at once, but a large one by itself."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[Future[Made]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(make, piece))
            while len(waiting) > (_AHEAD if piece.size <= 2 * PIECE_BYTES else 0):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
