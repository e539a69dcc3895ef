"""The job resource: what was requested, its state and results, and how the API shows it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.testing.vertex_ai.faults import Fault
from airflow_gemini_batch.testing.vertex_ai.jobs.models import Model
from airflow_gemini_batch.testing.vertex_ai.readings import Readings


class State(StrEnum):
    """The states of a BatchPredictionJob that this server walks through.

    Spelled out here again, so that a slip in the client's own table can't hide on both sides.
    """

    QUEUED = "JOB_STATE_QUEUED"
    PENDING = "JOB_STATE_PENDING"
    RUNNING = "JOB_STATE_RUNNING"
    SUCCEEDED = "JOB_STATE_SUCCEEDED"
    FAILED = "JOB_STATE_FAILED"
    CANCELLING = "JOB_STATE_CANCELLING"
    CANCELLED = "JOB_STATE_CANCELLED"
    PAUSED = "JOB_STATE_PAUSED"
    EXPIRED = "JOB_STATE_EXPIRED"
    UPDATING = "JOB_STATE_UPDATING"
    PARTIALLY_SUCCEEDED = "JOB_STATE_PARTIALLY_SUCCEEDED"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good; PAUSED has not."""
        return self in _FINAL


_FINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED, State.PARTIALLY_SUCCEEDED}


NEW_DATASET = ""
"""The dataset of a destination that is a project: the job makes one."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A checked create call.

    :param body: the resource's own fields, camelCase, as the API echoes them.
    :param sources: ``gs://`` objects or patterns, or the one ``bq://`` table.
    :param destination: a ``gs://`` prefix, or a ``bq://`` table, dataset or project.
    """

    location: str
    model: Model
    sources: tuple[GcsAddress, ...] | BigQueryAddress
    destination: GcsAddress | BigQueryAddress
    body: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """The job's ``modelParameters``."""
        return self.body.get("modelParameters") or {}


@dataclass(slots=True)
class Job:
    """One batch prediction job; changed only in the server's event loop.

    :param faults: what will go wrong with this job, decided when it was created.
    :param readings: how it takes what is not settled, decided at the same time.
    :param resumed: whether an earlier server has begun it.
    :param on_change: is called when it goes to another state.
    """

    request: JobRequest
    project_number: str
    faults: tuple[Fault, ...] = ()
    readings: Readings = field(default_factory=Readings)
    id: str = field(default_factory=lambda: str(secrets.randbelow(9 * 10**18) + 10**18))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    state: State = State.PENDING
    updated: datetime = field(init=False)
    started: datetime | None = None
    ended: datetime | None = None
    error: dict[str, Any] | None = None
    partial_failures: list[dict[str, Any]] = field(default_factory=list)
    output: dict[str, str] = field(default_factory=dict)
    succeeded_rows: int = 0
    failed_rows: int = 0
    incomplete_rows: int = 0
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    resumed: bool = False
    on_change: Callable[[Job], None] | None = None
    _shown: bytes | None = None

    def __post_init__(self) -> None:
        self.updated = self.created

    @property
    def name(self) -> str:
        """The full resource name, with the project's number."""
        location = self.request.location
        return f"projects/{self.project_number}/locations/{location}/batchPredictionJobs/{self.id}"

    @property
    def display_name(self) -> str:
        """The name that the caller gave."""
        return str(self.request.body.get("displayName", ""))

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the caller gave."""
        return self.request.body.get("labels") or {}

    def fault(self, name: str) -> Fault | None:
        """Return the fault of that name, when this job is to suffer it."""
        return next((fault for fault in self.faults if fault.name == name), None)

    def to(self, state: State) -> None:
        """Go to ``state`` now; sets the times that belong to it."""
        self.updated = datetime.now(UTC)
        if state is State.RUNNING and self.started is None:
            self.started = self.updated
        if state.is_final:
            self.ended = self.updated
        self.state = state
        self._shown = None
        if self.on_change is not None:
            self.on_change(self)

    @property
    def encoded(self) -> bytes:
        """The resource as JSON; kept until the job changes, because pages of thousands are asked for."""
        if self._shown is None:
            self._shown = orjson.dumps(self.shown())
        return self._shown

    def shown(self) -> dict[str, Any]:
        """Return the resource as GET answers it: camelCase, unset fields left out."""
        resource: dict[str, Any] = {
            "name": self.name,
            **self.request.body,
            "state": self.state,
            "error": self.error,
            "partialFailures": self.partial_failures[:20],
            "outputInfo": self.output,
            "completionStats": self._completion_stats(),
            "createTime": timestamp(self.created),
            "startTime": self.started and timestamp(self.started),
            "endTime": self.ended and timestamp(self.ended),
            "updateTime": timestamp(self.updated),
        }
        return {key: value for key, value in resource.items() if value}

    def _completion_stats(self) -> dict[str, str]:
        # int64 is a string in proto JSON, and a zero is left out.
        counts = {
            "successfulCount": self.succeeded_rows,
            "failedCount": self.failed_rows,
            "incompleteCount": self.incomplete_rows,
        }
        return {name: str(count) for name, count in counts.items() if count}


def timestamp(moment: datetime) -> str:
    """Write a time in RFC 3339 with microseconds and a ``Z``: ``2025-12-19T07:32:47.279859Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
