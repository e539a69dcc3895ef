"""What a batch prediction job is: its states and what they mean, its name, where its output lies.

The resource: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, Self

from airflow_gemini_batch.core.addresses import Address, BigQueryAddress, GcsAddress, parse_address


class JobState(StrEnum):
    """The states of a job, as the service spells them."""

    UNSPECIFIED = "JOB_STATE_UNSPECIFIED"
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

    @classmethod
    def _missing_(cls, value: object) -> JobState:
        # A state that the service may add one day: unknown, so neither an end nor a success.
        return cls.UNSPECIFIED

    @property
    def short(self) -> str:
        """The name without its prefix, for messages."""
        return self.value.removeprefix("JOB_STATE_")

    @property
    def stage(self) -> Stage:
        """Where in its life a job of this state is."""
        return STAGES[self]


class Stage(Enum):
    """What a state asks of those who wait."""

    QUEUED = "waiting to start"
    RUNNING = "at work"
    STOPPING = "being cancelled; it can still end in any way"
    STUCK = "stopped without an end; nobody resumes such a job"
    SUCCEEDED = "ended with a result"
    FAILED = "ended without a complete result"

    @property
    def waits(self) -> bool:
        """Whether waiting on makes sense."""
        return self in (Stage.QUEUED, Stage.RUNNING, Stage.STOPPING)

    @property
    def ended(self) -> bool:
        """Whether the service will not change the state any more."""
        return self in (Stage.SUCCEEDED, Stage.FAILED)


STAGES: dict[JobState, Stage] = {
    JobState.UNSPECIFIED: Stage.QUEUED,
    JobState.QUEUED: Stage.QUEUED,
    JobState.PENDING: Stage.QUEUED,
    JobState.RUNNING: Stage.RUNNING,
    JobState.UPDATING: Stage.RUNNING,
    JobState.CANCELLING: Stage.STOPPING,
    JobState.PAUSED: Stage.STUCK,
    JobState.SUCCEEDED: Stage.SUCCEEDED,
    # The finished rows are there; what is missing is judged row by row, not by the job's state.
    JobState.PARTIALLY_SUCCEEDED: Stage.SUCCEEDED,
    JobState.FAILED: Stage.FAILED,
    JobState.CANCELLED: Stage.FAILED,
    JobState.EXPIRED: Stage.FAILED,
}


@dataclass(frozen=True, slots=True)
class JobName:
    """The full resource name of a job."""

    project: str
    location: str
    job_id: str

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read ``projects/P/locations/L/batchPredictionJobs/ID``; raises :class:`ValueError` otherwise."""
        match = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)/batchPredictionJobs/([^/]+)", name or "")
        if match is None:
            raise ValueError(
                f"{name!r} is not the name of a batch job: "
                "projects/PROJECT/locations/LOCATION/batchPredictionJobs/ID is expected"
            )
        return cls(*match.groups())

    @property
    def console_url(self) -> str:
        """The job's page in the Google Cloud console."""
        return (
            "https://console.cloud.google.com/vertex-ai/"
            f"locations/{self.location}/batch-predictions/{self.job_id}?project={self.project}"
        )

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/batchPredictionJobs/{self.job_id}"


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: a ``google.rpc.Status``."""

    code: int
    message: str

    def __str__(self) -> str:
        return f"[code {self.code}] {self.message}"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One answer of the service about one job.

    Times are aware datetimes in UTC; a field that the service left out is ``None`` or empty.
    """

    name: JobName
    state: JobState
    display_name: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    output: Address | None = None
    error: JobError | None = None
    successful_count: int | None = None
    failed_count: int | None = None
    create_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None

    @classmethod
    def from_json(cls, resource: Mapping[str, Any]) -> Self:
        """Read the resource as the REST API sends it; raises :class:`ValueError` when it is none."""
        name = JobName.parse(resource.get("name", ""))
        stats = resource.get("completionStats") or {}
        error = resource.get("error") or {}
        return cls(
            name=name,
            state=JobState(resource.get("state") or JobState.UNSPECIFIED),
            display_name=resource.get("displayName") or "",
            model=resource.get("model") or "",
            labels=resource.get("labels") or {},
            sources=_sources(resource.get("inputConfig") or {}),
            output=_output(resource.get("outputInfo") or {}),
            error=JobError(int(error.get("code", 0)), str(error.get("message", ""))) if error else None,
            successful_count=_count(stats.get("successfulCount")),
            failed_count=_count(stats.get("failedCount")),
            create_time=parse_time(resource.get("createTime")),
            start_time=parse_time(resource.get("startTime")),
            end_time=parse_time(resource.get("endTime")),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.state.short})"


def parse_time(text: str | None) -> datetime | None:
    """Read an RFC 3339 time as UTC; of the service's nine decimals Python keeps six."""
    if not text:
        return None
    return datetime.fromisoformat(text).astimezone(UTC)


def _count(value: Any) -> int | None:
    # int64 travels as a string; -1 stands for "unknown".
    if value is None or int(value) < 0:
        return None
    return int(value)


def _sources(config: Mapping[str, Any]) -> tuple[str, ...]:
    table = (config.get("bigquerySource") or {}).get("inputUri")
    return (table,) if table else tuple((config.get("gcsSource") or {}).get("uris") or ())


def _output(info: Mapping[str, Any]) -> Address | None:
    if directory := info.get("gcsOutputDirectory"):
        return GcsAddress.parse(directory)
    table = info.get("bigqueryOutputTable") or ""
    dataset = info.get("bigqueryOutputDataset") or ""
    # The table comes as a bare name in some answers and as a full address in others.
    if table.startswith("bq://"):
        return parse_address(table)
    if dataset:
        address = BigQueryAddress.parse(dataset if dataset.startswith("bq://") else f"bq://{dataset}")
        return address.with_table(table) if table else address
    return None
