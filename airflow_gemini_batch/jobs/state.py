"""What a batch job is, whatever service runs it: its states and what they mean, its name, where its output lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Protocol, Self

from airflow_gemini_batch.core.addresses import Address
from airflow_gemini_batch.core.shown import shown


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


class JobState(StrEnum):
    """The states of a job, spelt as Vertex AI does, and their stages.

    Manifests, events and results of sensors hold them, so the client of another service translates its own.
    """

    stage: Stage

    UNSPECIFIED = "JOB_STATE_UNSPECIFIED", Stage.QUEUED
    QUEUED = "JOB_STATE_QUEUED", Stage.QUEUED
    PENDING = "JOB_STATE_PENDING", Stage.QUEUED
    RUNNING = "JOB_STATE_RUNNING", Stage.RUNNING
    SUCCEEDED = "JOB_STATE_SUCCEEDED", Stage.SUCCEEDED
    FAILED = "JOB_STATE_FAILED", Stage.FAILED
    CANCELLING = "JOB_STATE_CANCELLING", Stage.STOPPING
    CANCELLED = "JOB_STATE_CANCELLED", Stage.FAILED
    PAUSED = "JOB_STATE_PAUSED", Stage.STUCK
    EXPIRED = "JOB_STATE_EXPIRED", Stage.FAILED
    UPDATING = "JOB_STATE_UPDATING", Stage.RUNNING
    # The finished rows are there; what is missing is judged row by row, not by the job's state.
    PARTIALLY_SUCCEEDED = "JOB_STATE_PARTIALLY_SUCCEEDED", Stage.SUCCEEDED

    def __new__(cls, value: str, stage: Stage = Stage.QUEUED) -> Self:  # noqa: D102
        state = str.__new__(cls, value)
        state._value_ = value
        state.stage = stage
        return state

    @classmethod
    def _missing_(cls, value: object) -> JobState:
        # A state that a service adds later is neither an end nor a success.
        return cls.UNSPECIFIED

    @property
    def short(self) -> str:
        """The name without its prefix, for messages."""
        return self.value.removeprefix("JOB_STATE_")


class JobName(Protocol):
    """The name of a job. Only its service's client looks inside; ``str()`` gives the text that is stored."""

    @property
    def job_id(self) -> str:
        """What tells the job from the others of its parent; fits a label."""

    @property
    def parent(self) -> str:
        """What one client serves, such as a project and location."""

    @property
    def console_url(self) -> str:
        """A page about the job for people."""

    def sibling(self, job_id: str) -> JobName:
        """Return the name of another job of the same parent."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: the service's code and message."""

    code: int
    message: str

    def __str__(self) -> str:
        return f"[code {self.code}] {shown(self.message)}"


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One answer of the service about one job.

    Times are aware datetimes in UTC; a field that the service left out is ``None`` or empty. ``destination`` is the
    prefix or table that the job was given, ``output`` the folder or table that it writes.
    """

    name: JobName
    state: JobState
    display_name: str = ""
    model: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    requests: tuple[str, ...] = ()
    destination: str = ""
    output: Address | None = None
    error: JobError | None = None
    successful_count: int | None = None
    failed_count: int | None = None
    incomplete_count: int | None = None
    create_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    model_parameters: Mapping[str, Any] = field(default_factory=dict)
    kms_key_name: str = ""
    service_account: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.state.short})"
