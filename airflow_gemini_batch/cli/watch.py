"""Wait for jobs at a terminal: by the rules of tasks, but without their limits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.progress_bar import ProgressBar

from airflow_gemini_batch.cli.job_facts import (
    queued_seconds,
    rows_text,
    run_seconds,
    share_done,
    task_text,
    time_text,
)
from airflow_gemini_batch.cli.screen import escape, screen, table_of
from airflow_gemini_batch.core.defaults import LONGEST_TIMEOUT
from airflow_gemini_batch.exceptions import JobServiceError
from airflow_gemini_batch.jobs.client import Connection
from airflow_gemini_batch.jobs.polling import (
    AskAgain,
    JobWait,
    WaitOutcome,
    WaitOver,
    WaitPolicy,
    utc_now,
)
from airflow_gemini_batch.jobs.state import BatchJob

if TYPE_CHECKING:
    from rich.table import Table

# Ages in the table grow between two answers.
_REDRAWN_EVERY = 1.0
_BAR_WIDTH = 20


@dataclass(slots=True)
class Watched:
    """A job that is watched.

    :param job: as the service has described it last.
    """

    job: BatchJob
    wait: JobWait
    asked: datetime = field(default_factory=utc_now)
    """When the service has answered last."""
    due: datetime = field(default_factory=utc_now)
    is_known: bool = True
    over: WaitOver | None = None

    @property
    def lost(self) -> bool:
        """Whether the end of the job is not known."""
        return self.over is not None and self.over.outcome is not WaitOutcome.ENDED

    def take(self, update: BatchJob | JobServiceError) -> None:
        """Take an answer of the service, or an error."""
        decision = self.wait.take(update, _LINES)
        now = utc_now()
        self.is_known = isinstance(update, BatchJob)
        if isinstance(update, BatchJob):
            self.job, self.asked = update, now
        if isinstance(decision, AskAgain):
            self.due = now + timedelta(seconds=decision.seconds)
        else:
            self.over = decision

    @property
    def state_text(self) -> str:
        """The state; where the service does not answer, the last one and since when it is not known."""
        state = self.job.state.short
        return state if self.is_known else f"unknown (was {state} at {self.asked:%H:%M} UTC)"


def watch_jobs(connection: Connection, jobs: Sequence[BatchJob], poll_interval: float) -> list[Watched]:
    """Wait until no job is worth waiting for, and return all of them.

    A line is printed for each change, and on a terminal a table that follows the jobs.

    :param poll_interval: longest pause between two questions about one job, in seconds.
    """
    policy = WaitPolicy(poll_interval, LONGEST_TIMEOUT, LONGEST_TIMEOUT)
    give_up_at = utc_now() + timedelta(seconds=LONGEST_TIMEOUT)
    watched = [Watched(job, JobWait(job.name, policy, give_up_at)) for job in jobs]
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        for one in watched:
            one.take(one.job)
        while open_ := [one for one in watched if one.over is None]:
            if screen.is_terminal:
                live.update(_table(watched), refresh=True)
            now = utc_now()
            first = min(one.due for one in open_)
            if first > now:
                time.sleep(min((first - now).total_seconds(), _REDRAWN_EVERY))
                continue
            for one in open_:
                if one.due <= now:
                    one.take(_read(connection, one.job))
    return watched


def _read(connection: Connection, job: BatchJob) -> BatchJob | JobServiceError:
    try:
        return connection.get_conn(job.name).get(job.name)
    except JobServiceError as error:
        return error


def _table(watched: Sequence[Watched]) -> Table:
    now = utc_now()
    table = table_of(("job", "state", "queued", "ran", "", "rows", "task"))
    for one in watched:
        job, share = one.job, share_done(one.job)
        table.add_row(
            escape(job.name.job_id),
            escape(one.state_text),
            time_text(queued_seconds(job, now)),
            time_text(run_seconds(job, now)),
            ProgressBar(total=1.0, completed=share, width=_BAR_WIDTH) if share is not None else "",
            rows_text(job),
            escape(task_text(job)),
        )
    return table


class _Lines:
    """A log that prints lines above the table."""

    def info(self, message: str, /, *args: Any) -> None:
        screen.print(f"{utc_now():%H:%M:%S} {escape(message % args)}", soft_wrap=True, highlight=False)

    def warning(self, message: str, /, *args: Any) -> None:
        text = escape(message % args)
        screen.print(f"{utc_now():%H:%M:%S} [yellow]{text}[/]", soft_wrap=True, highlight=False)

    error = warning


_LINES = _Lines()
