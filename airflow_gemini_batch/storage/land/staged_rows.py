"""The one row for each request, and what of it goes where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_gemini_batch.core.landing import FAILED_COLUMNS, LandingPlan, column_type
from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.core.manifest import Manifest
from airflow_gemini_batch.core.responses import Outcome, Tally
from airflow_gemini_batch.core.row_sources import FileKind
from airflow_gemini_batch.storage.cloud_storage import CloudStorage
from airflow_gemini_batch.storage.land.database import identifier, literal
from airflow_gemini_batch.storage.land.file_merge import Columns, FileRows
from airflow_gemini_batch.storage.land.outcomes import STAGED, sort_rows
from airflow_gemini_batch.storage.land.spool import spool
from airflow_gemini_batch.storage.land.vectors import say_shortened

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from airflow_gemini_batch.storage.land.vector_file import VectorFile

TIME = "batch_processed_time"

_STAGED_AS = {
    "outcome": "batch_outcome",
    "code": "batch_code",
    "message": "batch_message",
    "job": "batch_job",
    "round": "batch_round",
    "failed_time": TIME,
}
"""Columns of the file of failures that have another name among the staged ones."""


def stage_rows(
    plan: LandingPlan,
    manifests: Sequence[Manifest],
    storage: CloudStorage,
    database: DuckDBPyConnection,
    folder: Path,
    log: Log,
    vectors: VectorFile | None = None,
) -> Tally:
    """Read the files of some manifests and leave one row for each request in the folder.

    :param vectors: where vectors are kept; the rows have their digests.

    Returns the outcomes; what was counted in none of them is logged. Raises what
    :func:`~airflow_gemini_batch.storage.land.spool.spool` and
    :func:`~airflow_gemini_batch.storage.land.outcomes.sort_rows` raise.
    """
    unreadable = spool(plan, manifests, storage, folder, vectors)
    tally = sort_rows(database, plan, manifests, folder)
    log.info("%s", tally)
    for count, what in (
        (unreadable.requests, "lines of the request files hold no request and are left out"),
        (unreadable.answers, "lines of the answers hold no JSON object; their requests count as missing"),
        (tally.unknown, "answers belong to no request and are left out"),
    ):
        if count:
            log.warning("%d %s", count, what)
    if vectors:
        ((shortened,),) = database.execute(
            f"SELECT COUNT(*) FILTER (batch_shortened) FROM {staged(folder)}"
        ).fetchall()
        say_shortened(log, plan, shortened)
    return tally


def staged(folder: Path) -> str:
    """Return the staged rows as they stand in a statement."""
    return f"read_parquet({literal(folder / STAGED)})"


def answers(plan: LandingPlan, folder: Path, kind: FileKind) -> FileRows:
    """Return the good rows with the columns of a target."""
    types = {
        **dict.fromkeys(plan.key, "STRING"),
        **{column.name: column_type(column) for column in plan.columns},
        **plan.bookkeeping_columns,
    }
    return _rows({name: name for name in types}, types, folder, f"batch_outcome = '{Outcome.OK}'", kind)


def failures(plan: LandingPlan, folder: Path, kind: FileKind) -> FileRows:
    """Return the other rows with the columns of a file of failures."""
    types = {**dict.fromkeys(plan.key, "STRING"), **FAILED_COLUMNS}
    names = {name: _STAGED_AS.get(name, name) if name in FAILED_COLUMNS else name for name in types}
    return _rows(names, types, folder, f"batch_outcome != '{Outcome.OK}'", kind)


def _rows(names: dict[str, str], types: Columns, folder: Path, condition: str, kind: FileKind) -> FileRows:
    """Return rows with some columns.

    :param names: of the columns, and as they are staged.
    """
    selected = []
    for name, column in names.items():
        value = identifier(column)
        if types[name] == "JSON" and kind is FileKind.JSON_LINES:
            value = f"JSON({value})::VARCHAR"  # spelled as it will be when it is read again
        selected.append(f"{value} AS {identifier(name)}")
    if kind is FileKind.PARQUET:  # where JSON is text
        types = {name: "STRING" if type_ == "JSON" else type_ for name, type_ in types.items()}
    return FileRows(f"SELECT {', '.join(selected)} FROM {staged(folder)} WHERE {condition}", types)
