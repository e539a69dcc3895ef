"""Request files out of rows, as a stream in constant memory: nothing is uploaded before every row was checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
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
from airflow_gemini_batch.requests.done import Mark
from airflow_gemini_batch.requests.files.changed_rows import ChangedRows
from airflow_gemini_batch.requests.files.importable import importable_template
from airflow_gemini_batch.requests.files.maker import LineMaker, MadeLines
from airflow_gemini_batch.requests.files.pieces import PIECE_BYTES, Piece
from airflow_gemini_batch.requests.files.row_index import DONE, FAILED, KINDS, REPEATED, RowIndex, SortedRows
from airflow_gemini_batch.requests.files.rows import Rows
from airflow_gemini_batch.requests.files.shards import RequestFiles
from airflow_gemini_batch.requests.questions import Question
from airflow_gemini_batch.requests.row_kinds import CHANGED_QUESTION_KINDS, KindCounts, RowKind
from airflow_gemini_batch.requests.spec import SHOWN_KEYS, BadRows, BuildPlan, BuildReport
from airflow_gemini_batch.requests.templates import BadRow

if TYPE_CHECKING:
    import numpy as np
    from google.cloud.storage import Client
    from numpy.typing import NDArray

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
    known: Iterable[Mark] = (),
) -> BuildReport:
    """Make one request of each row that is not done, and write them to a folder.

    It needs room on the worker's disk: as much as the requests take, and twice that when rows are left out.

    :param known: the requests that are known: answered, asked at this moment, or failed.

    Raises :class:`.InvalidRequestError` for a template, columns or rows that can't become requests. That, and whatever
    the rows themselves raise, comes before anything is uploaded.
    """
    StorageObjects(client).check_destination(destination)
    others, current = _others(plan, rows.columns or ()), plan.question.id
    plan = replace(plan, template=importable_template(plan.template, plan.family))
    if rows.columns is not None:
        plan.check_columns(rows.columns, where=rows.where)
    with (
        ExitStack() as stack,
        private_folder("build") as folder,
        RequestFiles(max_rows=plan.shard_rows, max_bytes=plan.shard_bytes) as all_files,
        RequestFiles(max_rows=plan.shard_rows, max_bytes=plan.shard_bytes) as new_files,
    ):
        changed = stack.enter_context(ChangedRows(plan, folder / "changed")) if plan.limit else None
        index = RowIndex(folder, [current, *others])
        answered: set[str] = set()
        index.add_marks(_noting(known, answered))
        needed = [question if name in answered else None for name, question in others.items()]
        maker = LineMaker(plan, compare=plan.done_target is not None, others=needed)
        bad = _spool(maker, rows.pieces, all_files, index, changed, Progress(log, "building requests"))
        index_rows = index.sort()
        states = index_rows.states
        if repeated := int((states == REPEATED).sum()):
            lines = (line for line, state in zip(all_files, states, strict=True) if state == REPEATED)
            keys = [text_of_key(orjson.loads(line)["key"]) for line in islice(lines, SHOWN_KEYS)]
            bad[BadRow.DUPLICATE_KEY] = BadRows().plus(repeated, keys)
        plan.check_rows(bad)
        asked, counts = _asked(plan, index, index_rows, changed)
        files = all_files
        if not asked.all():
            files = new_files
            files.write_all(line for line, is_asked in zip(all_files, asked, strict=True) if is_asked)
        report = BuildReport.of(
            plan,
            counts,
            index_rows.counts,
            done=int((states == DONE).sum()),
            failed_before=int((states == FAILED).sum()),
            bad=bad,
            answers=index_rows.answers,
        )
        plan.check_jobs(len(files), files.count)
        return replace(report, sources=files.upload(client, destination, log)) if plan.writes else report


def _noting(marks: Iterable[Mark], answered: set[str]) -> Iterator[Mark]:
    """Yield marks, and add the ids of the questions that rows of the target answer to a set."""
    for mark in marks:
        answered.add(mark.question)
        yield mark


def _others(plan: BuildPlan, columns: Collection[str]) -> dict[str, Question]:
    """Return the other questions that rows may answer, as far as the rows still have what these ask about."""
    return {
        name: replace(question, template=importable_template(question.template, plan.family))
        for name, question in plan.other_questions.items()
        if all(column in columns for column in question.template.columns)
    }


def _asked(
    plan: BuildPlan, index: RowIndex, rows: SortedRows, changed: ChangedRows | None
) -> tuple[NDArray[np.bool_], KindCounts]:
    """Return of each row whether it is asked, and the rows of each kind that are."""
    import numpy as np

    def of(states: NDArray[np.uint8], kinds: Sequence[RowKind]) -> NDArray[np.bool_]:
        return np.isin(states, [KINDS.index(kind) for kind in kinds])

    most = plan.most_changed(rows.counts, rows.answers)
    asked = of(rows.states, plan.asked_kinds)
    if most is None or changed is None:
        return asked, {kind: rows.counts[kind] for kind in plan.asked_kinds if kind in rows.counts}
    candidates = of(rows.states, CHANGED_QUESTION_KINDS)
    # A sample counts the rows that a canary has asked before, so that it stays the same.
    chosen = changed.first(candidates, most)
    asked &= chosen | ~candidates
    if plan.sample:
        asked = chosen & of(rows.states, KINDS) & ~rows.answered
    return asked, index.counts(asked, rows.states)


def _spool(
    maker: LineMaker,
    pieces: Iterator[Piece],
    files: RequestFiles,
    index: RowIndex,
    changed: ChangedRows | None,
    progress: Progress,
) -> dict[BadRow, BadRows]:
    """Write the lines of all rows, and return which rows can't become a request."""
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
        if changed and made.order:
            changed.add(*made.order)
        files.write_column(made.lines)
        progress.tell(count, files.size)
    return bad


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
