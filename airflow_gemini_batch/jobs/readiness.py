"""Whether a job or its output is ready to be read: decisions only, for the sensors and their trigger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_gemini_batch.jobs.state import BatchJob, Stage


class ReadinessState(StrEnum):
    """The verdict of one check."""

    READY = "ready"
    NOT_YET = "not_yet"
    NEVER = "never"
    NOTHING = "nothing"
    """Whoever would make it had nothing to do."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The result of one check of a job or its output.

    :param reason: for people: what is there, what is missing, or why it will never be ready.
    :param result: the sensor's result once it is ready: JSON scalars and lists of texts.
    """

    state: ReadinessState
    reason: str
    result: Mapping[str, Any] | None = None


def ready(reason: str, **result: Any) -> Readiness:
    """Return the result of a check of what is ready."""
    return Readiness(ReadinessState.READY, reason, result)


def not_yet(reason: str) -> Readiness:
    """Return the result of a check of what may become ready."""
    return Readiness(ReadinessState.NOT_YET, reason)


def never(reason: str) -> Readiness:
    """Return the result of a check of what will never become ready."""
    return Readiness(ReadinessState.NEVER, reason)


def nothing(reason: str) -> Readiness:
    """Return the result of a check of what somebody has found nothing to do for."""
    return Readiness(ReadinessState.NOTHING, reason)


def job_readiness(job: BatchJob) -> Readiness:
    """Judge a job by itself: ready once it has ended with a result."""
    stage = job.state.stage
    if stage.waits:
        return not_yet(f"{job} is {stage.value}")
    if stage is Stage.SUCCEEDED:
        return ready(str(job), job_name=str(job.name), state=job.state.value, output=str(job.output or ""))
    error = f". Error: {job.error}" if job.error else ""
    return never(f"{job}: {stage.value}{error}\nConsole: {job.name.console_url}")


def rows_readiness(
    output: str, *, rows: int, failed: int, expected: int | None, max_failed_fraction: float
) -> Readiness:
    """Judge output by its rows; the job that writes it, if known, has succeeded.

    Jobs write while they run, so fewer rows than expected are a reason to wait.

    :param expected: rows in complete output; ``None`` when the end of the job says that it is complete.
    """
    if expected is not None and rows < expected:
        return not_yet(f"{output} has {rows} of {expected} rows")
    if rows == 0 and expected != 0:
        return never(f"{output} is complete, but has no rows")
    failed_fraction = failed / rows if rows else 0.0
    counts = f"{output} has {rows} rows, {failed} of them failed ({failed_fraction:.2%})"
    if failed_fraction > max_failed_fraction:
        return never(f"{counts}, and max_failed_fraction allows {max_failed_fraction:.2%}")
    return ready(counts, output=output, rows=rows, failed=failed)
