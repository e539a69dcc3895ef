"""Is the output of a job ready to be read: decisions only, for every sensor and for every way to wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from airflow_gemini_batch.jobs.state import BatchJob, Stage


class ReadinessState(StrEnum):
    """What a look at the output says."""

    READY = "ready"
    NOT_YET = "not_yet"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Readiness:
    """One look at a job or its output.

    :param reason: for people: what is there, what is missing, or why it will never be ready.
    :param result: what the sensor hands on once it is ready: JSON scalars.
    """

    readiness: ReadinessState
    reason: str
    result: Mapping[str, str | int | float] | None = None


def ready(reason: str, **result: str | int | float) -> Readiness:
    """Return a look at something that is ready."""
    return Readiness(ReadinessState.READY, reason, result)


def not_yet(reason: str) -> Readiness:
    """Return a look at something worth waiting for."""
    return Readiness(ReadinessState.NOT_YET, reason)


def never(reason: str) -> Readiness:
    """Return a look at something that will not become ready."""
    return Readiness(ReadinessState.NEVER, reason)


def job_readiness(job: BatchJob) -> Readiness:
    """Judge a job by itself: ready once it has ended with a result."""
    stage = job.state.stage
    if stage.waits:
        return not_yet(f"{job} is {stage.value}")
    if stage is Stage.SUCCEEDED:
        return ready(str(job), job_name=str(job.name), state=job.state.value, output=str(job.output or ""))
    said = f"; Vertex AI says: {job.error}" if job.error else ""
    return never(f"{job}: {stage.value}{said}\nConsole: {job.name.console_url}")


def rows_readiness(
    where: str, *, rows: int, failed: int, expected: int | None, max_failed_fraction: float
) -> Readiness:
    """Judge output by its rows; the job that writes it, if known, has ended well.

    Jobs write while they run, so fewer rows than expected are a reason to wait on.

    :param expected: rows in complete output; ``None`` when the job's own end is what completeness is known by.
    """
    if expected is not None and rows < expected:
        return not_yet(f"{where} holds {rows} of {expected} rows")
    if rows == 0 and expected != 0:
        return never(f"{where} is complete, but holds no rows")
    failed_fraction = failed / rows if rows else 0.0
    found = f"{where} holds {rows} rows, {failed} of them failed ({failed_fraction:.2%})"
    if failed_fraction > max_failed_fraction:
        return never(f"{found}, and max_failed_fraction allows {max_failed_fraction:.2%}")
    return ready(found, output=where, rows=rows, failed=failed)
