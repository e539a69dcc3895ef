"""How often a request has failed for good is kept beside the failure: in tables and in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_gemini_batch.core.keys import sent_key
from tests.landing.answer_files import AnswerFiles, asked, jsonl, line
from tests.landing.landings import TEXT, Landing, bad, good, later

BLOCKED = {**good(""), "response": {"promptFeedback": {"blockReason": "SAFETY"}}}
PASSING = bad(503, "busy")

Land = Callable[[str, str, Mapping[str, Any]], None]
"""Lands one answer to the request of a row: name of the job, the request, the cells."""


def _in_tables(landing: Landing) -> tuple[Land, Callable[[], Any]]:
    def land(job: str, fingerprint: str, cells: Mapping[str, Any]) -> None:
        source = landing.requests("978-1", "978-2", fingerprint=fingerprint)
        manifest = landing.manifest(source, landing.output(("978-1", cells), ("978-2", good("A"))))
        rounds = tuple(replace(one, job_name=job) for one in manifest.rounds)
        landing.run(TEXT, replace(manifest, rounds=rounds))

    return land, lambda: landing.failures("times_failed").get("978-1", "gone")


def _in_files(files: AnswerFiles, target: str) -> tuple[Land, Callable[[], Any]]:
    def land(job: str, fingerprint: str, cells: Mapping[str, Any]) -> None:
        # Its text makes a request's fingerprint.
        request = orjson.dumps({"key": sent_key("978-1"), "request": asked(fingerprint)}) + b"\n"
        name = f"{job}-{fingerprint}.jsonl"
        source = files.put(name, request)
        manifest = files.manifest(source, files.output(line("978-1", cells, "key")))
        rounds = tuple(replace(one, job_name=job) for one in manifest.rounds)
        files.run(TEXT, replace(manifest, rounds=rounds), target=target)

    def times() -> Any:
        path = target.replace("books.", "books__failed.")
        rows = jsonl(path) if path.endswith("jsonl") else pq.read_table(path).to_pylist()
        return rows[0]["times_failed"] if rows else "gone"

    return land, times


@pytest.fixture(params=["tables", "parquet", "jsonl"])
def place(request, gemini_batch_stack, bucket, tmp_path):
    if request.param == "tables":
        return _in_tables(Landing(gemini_batch_stack))
    return _in_files(
        AnswerFiles(gemini_batch_stack, bucket, tmp_path), str(tmp_path / f"books.{request.param}")
    )


def test_each_run_that_fails_for_good_counts_once(place):
    land, times = place
    for job, fingerprint, cells, expected in (
        ("j1", "f1", BLOCKED, 1),
        ("j1", "f1", BLOCKED, 1),  # landed again
        ("j2", "f1", later(bad()), 2),
        ("j1", "f1", BLOCKED, 2),  # late, and older than what is there
        ("j3", "f1", later(PASSING), 2),
        ("j4", "f1", later(bad(403)), 2),
        ("j5", "f1", later(bad()), 3),
        ("j6", "f2", later(bad()), 1),  # another question
        ("j7", "f2", later(PASSING), 1),
        ("j8", "f3", later(PASSING), 0),
        ("j9", "f3", later(good("A")), "gone"),
    ):
        land(job, fingerprint, cells)
        assert times() == expected, (job, fingerprint)


def test_table_of_an_earlier_release_is_widened_and_its_failures_count(gemini_batch_stack):
    landing = Landing(gemini_batch_stack)
    land, times = _in_tables(landing)
    land("j1", "f1", bad())
    landing.run_sql(f"ALTER TABLE {landing.failed.sql} DROP COLUMN times_failed")
    land("j2", "f1", later(bad()))
    assert times() == 2


def test_file_of_an_earlier_release_is_widened_and_its_failures_count(gemini_batch_stack, bucket, tmp_path):
    land, times = _in_files(
        AnswerFiles(gemini_batch_stack, bucket, tmp_path), str(tmp_path / "books.parquet")
    )
    land("j1", "f1", bad())
    failed = tmp_path / "books__failed.parquet"
    table: pa.Table = pq.read_table(failed)
    pq.write_table(table.drop_columns(["times_failed"]), failed)
    land("j2", "f1", later(bad()))
    assert times() == 2
