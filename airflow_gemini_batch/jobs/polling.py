"""When to ask next and when to stop waiting: decisions only, for the trigger and for the waiting worker."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from airflow_gemini_batch.core.defaults import (
    DEFAULT_POLL_INTERVAL,
    DEFAULT_QUEUE_TIMEOUT,
    DEFAULT_RUN_TIMEOUT,
    LONGEST_TIMEOUT,
)
from airflow_gemini_batch.core.log import Changes, Log
from airflow_gemini_batch.core.settings import check_seconds
from airflow_gemini_batch.core.summary import duration
from airflow_gemini_batch.exceptions import JobServiceError, as_invalid_request
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE, Patience
from airflow_gemini_batch.jobs.state import BatchJob, JobName, JobState, Stage

HOUR = 3600.0
SHORTEST_INTERVAL = 5.0
LONGEST_BACKOFF = 300.0

WARNED_AFTER = 0.75
"""The share of a limit after which the log warns of it."""


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """How to wait for a job; all in seconds.

    :param poll_interval: longest pause between two questions about one job; for a young job the pause is a tenth of
        its age.
    :param queue_timeout: how long a job may wait to start, counted from its creation.
    :param run_timeout: how long a job may run, counted from its start.
    """

    poll_interval: float = DEFAULT_POLL_INTERVAL
    queue_timeout: float = DEFAULT_QUEUE_TIMEOUT
    run_timeout: float = DEFAULT_RUN_TIMEOUT

    def __post_init__(self) -> None:
        for name in ("poll_interval", "queue_timeout", "run_timeout"):
            with as_invalid_request():
                check_seconds(name, getattr(self, name), LONGEST_TIMEOUT)

    @property
    def longest(self) -> float:
        """The longest that a wait can take, in seconds."""
        return self.queue_timeout + self.run_timeout


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The job goes on: ask again after ``seconds``."""

    seconds: float


class WaitOutcome(StrEnum):
    """How a wait came to its end; travels in trigger events."""

    ENDED = "ended"
    """The job reached its end, or a state that it never leaves."""

    TIMED_OUT = "timed_out"
    """The job is over one of the limits."""

    LOST = "lost"
    """The state of the job cannot be read."""


@dataclass(frozen=True, slots=True)
class WaitOver:
    """The wait ends here; ``reason`` says why, unless the job ended."""

    outcome: WaitOutcome
    reason: str = ""


Decision = AskAgain | WaitOver


@dataclass(slots=True)
class JobWait:
    """One wait for one job: takes the answers of the service and decides what to do next.

    Times are wall-clock, since a wait outlives processes.

    :param give_up_at: when to stop asking although no answer comes.
    """

    name: JobName
    policy: WaitPolicy
    give_up_at: datetime
    patience: Patience = DEFAULT_PATIENCE
    state: JobState = field(default=JobState.UNSPECIFIED, init=False)
    """The last one seen."""
    _changes: Changes = field(default_factory=Changes, init=False)
    _errors: int = field(default=0, init=False)
    _refused_since: datetime | None = field(default=None, init=False)
    _warned_of: set[str] = field(default_factory=set, init=False)

    def take(self, update: BatchJob | JobServiceError, log: Log) -> Decision:
        """Decide what follows an answer or an error; log what is new, and once an hour that nothing is.

        A limit that comes near is told once.

        A job that has ended when it is first seen is not logged: whoever asks knows.
        """
        if isinstance(update, BatchJob):
            now = utc_now()
            decision = self.answered(update, now)
            ended_before = self.state is JobState.UNSPECIFIED and update.state.stage.ended
            self.state = update.state
            progress = update.state, update.successful_count, update.failed_count
            if not ended_before and self._changes.take(progress, now):
                log.info("%s", progress_text(update, now))
            if isinstance(decision, AskAgain) and (limit := self._near_limit(update)) and now >= limit.near:
                self._warned_of.add(limit.name)
                log.warning("%s", limit.warning(update))
            return decision
        decision = self.failed(update, transient=update.transient, now=utc_now())
        retry = f" (retrying in {decision.seconds:.0f} s)" if isinstance(decision, AskAgain) else ""
        log.warning("Could not read the state of %s%s: %s", self.name, retry, update)
        return decision

    def answered(self, job: BatchJob, now: datetime) -> Decision:
        """Decide what follows an answer about the job."""
        self._errors = 0
        self._refused_since = None
        if not job.state.stage.waits:
            return WaitOver(WaitOutcome.ENDED)
        limit = _limit_of(job, self.policy)
        if limit is not None and now >= limit.ends:
            return WaitOver(WaitOutcome.TIMED_OUT, str(limit))
        if now >= self.give_up_at:
            reason = f"it is still {job.state.short}, and the service does not say since when"
            return WaitOver(WaitOutcome.LOST, reason)
        age = (now - (job.create_time or now)).total_seconds()
        return AskAgain(spread(pause_for(age, self.policy.poll_interval)))

    def decide_by(self, update: BatchJob | JobServiceError) -> datetime:
        """Return when to decide again even if nothing about the job changes."""
        if not isinstance(update, BatchJob):
            return self.give_up_at
        limit = _limit_of(update, self.policy)
        ends = self.give_up_at if limit is None else min(limit.ends, self.give_up_at)
        near = [limit.near] if (limit := self._near_limit(update)) else []
        return min(ends, self._changes.repeat_at, *near)

    def _near_limit(self, job: BatchJob) -> _Limit | None:
        """Return the limit that the job is under, unless the log has warned of it."""
        limit = _limit_of(job, self.policy)
        return None if limit is None or limit.name in self._warned_of else limit

    def failed(self, error: Exception, *, transient: bool, now: datetime) -> Decision:
        """Decide what follows an error. It says nothing about the job, so it is only a reason to ask later.

        :param transient: whether the service said "not now" or nothing at all, rather than "no".
        """
        self._errors += 1
        if now >= self.give_up_at:
            return WaitOver(
                WaitOutcome.LOST,
                f"its state could not be read for too long; the last error: {error}",
            )
        self._refused_since = None if transient else self._refused_since or now
        if self._refused_since and (now - self._refused_since).total_seconds() >= self.patience.refusals:
            minutes = self.patience.refusals / 60
            return WaitOver(
                WaitOutcome.LOST,
                f"the service has refused to return its state for {minutes:g} minutes: {error}",
            )
        return AskAgain(spread(backoff(self.policy.poll_interval, self._errors)))


def progress_text(job: BatchJob, now: datetime) -> str:
    """Return a line about a job that is waited for: its state, since when, and how many rows are done."""
    text = f"Job {job.name.job_id} is {job.state.short}"
    until = job.end_time or now
    if job.state.stage is Stage.QUEUED and job.create_time:
        text += f", {duration((until - job.create_time).total_seconds())} after its creation"
    elif job.start_time:
        text += f", {duration((until - job.start_time).total_seconds())} after its start"
    done = (job.successful_count or 0) + (job.failed_count or 0)
    if done:
        text += f": {done:,} rows done" + (
            f", {job.failed_count:,} of them failed" if job.failed_count else ""
        )
    return text


def pause_for(age: float, poll_interval: float) -> float:
    """Return the pause before the next question about a job of that age; all in seconds.

    The end of a job of a minute is noticed at once, and a job of a day does not cost thousands of calls.
    """
    return min(max(age / 10, SHORTEST_INTERVAL), poll_interval)


def backoff(poll_interval: float, errors: int) -> float:
    """Return the pause after so many errors in a row, in seconds."""
    return float(min(poll_interval * 2 ** min(errors - 1, 20), max(LONGEST_BACKOFF, poll_interval)))


def spread(seconds: float) -> float:
    """Vary a pause by a tenth either way, so that many waits do not fall into step."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - no secret


@dataclass(frozen=True, slots=True)
class _Limit:
    """The limit that a job is under; its text says that it is exceeded."""

    since: datetime
    seconds: float
    doing: str
    name: str

    @property
    def ends(self) -> datetime:
        return self.since + timedelta(seconds=self.seconds)

    @property
    def near(self) -> datetime:
        """When the log warns of it."""
        return self.since + timedelta(seconds=self.seconds * WARNED_AFTER)

    def warning(self, job: BatchJob) -> str:
        """Return the text that warns of it."""
        return (
            f"Job {job.name.job_id} has been {self.doing} since {self.since:%Y-%m-%d %H:%M} UTC, more than "
            f"{WARNED_AFTER:.0%} of the limit ({self.name}, {self.seconds / HOUR:g} h). At "
            f"{self.ends:%Y-%m-%d %H:%M} UTC it is no longer waited for, and on_timeout says whether it is cancelled"
        )

    def __str__(self) -> str:
        return (
            f"it has been {self.doing} since {self.since:%Y-%m-%d %H:%M} UTC, and the limit ({self.name}) is "
            f"{self.seconds / HOUR:g} h"
        )


def _limit_of(job: BatchJob, policy: WaitPolicy) -> _Limit | None:
    """Return the limit that the job is under; returns ``None`` when the service does not say since when."""
    queued = job.state.stage is Stage.QUEUED
    if job.start_time is not None and not queued:
        return _Limit(job.start_time, policy.run_timeout, "running", "run_timeout")
    if job.create_time is not None and queued:
        return _Limit(job.create_time, policy.queue_timeout, "waiting to start", "queue_timeout")
    if job.create_time is not None:
        name = "queue_timeout and run_timeout together"
        return _Limit(job.create_time, policy.longest, "under way", name)
    return None


def utc_now() -> datetime:
    """Return the wall-clock time, aware, in UTC."""
    return datetime.now(UTC)
