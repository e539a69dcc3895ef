"""Failed rows by kind with some of their keys, out of tables and files alike."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.columns import FAILED_COLUMNS
from airflow_gemini_batch.core.summary import FailedRows
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from airflow_gemini_batch.landing.failed_rows import failed_rows
from tests.support.tables import fill, make_dataset

KEY = ("isbn", "copy")


def row(isbn: str, outcome: str, code: int | None, message: str, job: str = "jobs/1") -> dict[str, Any]:
    return {"isbn": isbn, "copy": "1", "outcome": outcome, "code": code, "message": message, "job": job}


ROWS = [
    *(row(f"978-{n}", "rejected", 400, f"no such role {n}") for n in range(5, 0, -1)),
    row("978-6", "rejected", 403, "no right", "jobs/2"),
    row("978-7", "blocked", None, "SAFETY", "jobs/2"),
    row("978-8", "blocked", None, "of another run", "jobs/3"),
]
KINDS = [
    FailedRows("rejected", "no such role 1", 5, ('["978-1","1"]', '["978-2","1"]', '["978-3","1"]'), 400),
    FailedRows("blocked", "SAFETY", 1, ('["978-7","1"]',)),
    FailedRows("rejected", "no right", 1, ('["978-6","1"]',), 403),
]


@pytest.fixture(params=["table", "parquet", "jsonl"])
def place(request, gemini_batch_stack, tmp_path):
    rows = sorted(ROWS, key=lambda one: one["isbn"])  # as landing sorts files
    if request.param == "table":
        columns = {**dict.fromkeys(KEY, "STRING"), **FAILED_COLUMNS}
        return fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.books__failed", columns, ROWS)
    path = tmp_path / f"books__failed.{request.param}"
    if request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    return str(path)


def found(place: str, *jobs: str) -> list[FailedRows]:
    hook = GeminiBatchHook()
    return failed_rows(place, KEY, jobs, lambda: hook.storage_client, lambda: hook.bigquery_client)


def test_rows_of_the_jobs_are_counted_by_kind(place):
    assert found(place, "jobs/1", "jobs/2") == KINDS
    assert found(place, "jobs/4") == []


def test_place_that_is_not_there_holds_nothing(gemini_batch_stack, tmp_path):
    assert found(f"{make_dataset(gemini_batch_stack)}.absent", "jobs/1") == []
    assert found(str(tmp_path / "absent.jsonl"), "jobs/1") == []
