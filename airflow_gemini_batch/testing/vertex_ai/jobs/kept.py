"""Jobs in a file, for a server that goes on where an earlier one stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from airflow_gemini_batch.testing.vertex_ai.faults import Fault
from airflow_gemini_batch.testing.vertex_ai.jobs.job import Job, JobRequest, State
from airflow_gemini_batch.testing.vertex_ai.readings import Readings

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS jobs (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, job TEXT)"
)

_SAVE = "INSERT INTO jobs (id, job) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET job = excluded.job"

_RESULTS = (
    "error",
    "partial_failures",
    "output",
    "succeeded_rows",
    "failed_rows",
    "incomplete_rows",
)
_TIMES = ("created", "updated", "started", "ended")

ReadRequest = Callable[[str, dict[str, Any], Readings], JobRequest]
"""Reads a job's location and body again."""


class KeptJobs:
    """A SQLite file with the jobs of a server; used in the server's event loop only.

    :param path: the file; made when it does not exist.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def save(self, job: Job) -> None:
        """Write a job as it is now."""
        self._db.execute(_SAVE, (job.id, orjson.dumps(_record(job)).decode()))

    def forget(self, job: Job) -> None:
        """Delete a job."""
        self._db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    def load(self, read_request: ReadRequest) -> list[Job]:
        """Return the jobs, oldest first."""
        rows = self._db.execute("SELECT job FROM jobs ORDER BY place")
        return [_job(orjson.loads(text), read_request) for (text,) in rows]


def _record(job: Job) -> dict[str, Any]:
    return {
        "location": job.request.location,
        "body": job.request.body,
        "project_number": job.project_number,
        "faults": [{each.name: getattr(fault, each.name) for each in fields(fault)} for fault in job.faults],
        "readings": asdict(job.readings),
        "id": job.id,
        "state": job.state,
        "cancelled": job.cancelled.is_set(),
        **{name: getattr(job, name) for name in (*_TIMES, *_RESULTS)},
    }


def _job(record: dict[str, Any], read_request: ReadRequest) -> Job:
    readings = Readings(**record["readings"])
    job = Job(
        read_request(record["location"], record["body"], readings),
        record["project_number"],
        tuple(Fault(**fault) for fault in record["faults"]),
        readings,
        id=record["id"],
        resumed=True,
    )
    for name in _TIMES:
        setattr(job, name, record[name] and datetime.fromisoformat(record[name]))
    for name in _RESULTS:
        setattr(job, name, record[name])
    job.state = State(record["state"])
    if record["cancelled"]:
        job.cancelled.set()
    return job
