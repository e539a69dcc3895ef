"""Jobs of BigQuery that may take long: run to their end, with news of them in the log, and what BigQuery bills."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow_gemini_batch.core.log import Log
from airflow_gemini_batch.gcp.statements import Statement

if TYPE_CHECKING:
    from google.cloud.bigquery import Client, LoadJob, QueryJob
    from google.cloud.bigquery.table import RowIterator

CALL_TIMEOUT = 60.0
QUERY_TIMEOUT = 3600.0
"""Longest time of a statement over all rows, or of a load job, in seconds."""

RIVALRY = ("aborted due to concurrent update", "Could not serialize access")
"""How BigQuery refuses the second of two statements that change one table at the same time."""

_FIRST_NEWS = (60.0, 120.0, 300.0, 600.0)
_FURTHER_NEWS = 600.0
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def next_news(elapsed: float) -> float:
    """Return when the log tells next of a job that runs: after 1, 2, 5 and 10 minutes, then every 10.

    :param elapsed: seconds since the job began; so is the result.
    """
    first = next((due for due in _FIRST_NEWS if due > elapsed), None)
    return first or (elapsed // _FURTHER_NEWS + 1) * _FURTHER_NEWS


def shown_bytes(size: int) -> str:
    """Return a size as BigQuery's prices count it: ``999 B``, ``1.5 KiB``, ``2.0 TiB``."""
    if size < 1024:
        return f"{size} B"
    step = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"{size / 1024**step:.1f} {_UNITS[step - 1]}"


class _Session:
    """A session of BigQuery, which begins with its first statement.

    Source: https://cloud.google.com/bigquery/docs/sessions
    """

    id = ""
    location: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of a job that belongs to the session."""
        from google.cloud.bigquery import ConnectionProperty

        return (
            {"connection_properties": [ConnectionProperty("session_id", self.id)]}
            if self.id
            else {"create_session": True}
        )

    def note(self, job: QueryJob) -> None:
        """Remember the session that a job has begun."""
        if not self.id and job.session_info:
            self.id, self.location = str(job.session_info.session_id), job.location


class Queries:
    """Runs the statements of a task.

    :param client: of ``google-cloud-bigquery``; its project pays for the statements.
    :param limit: most seconds that a job may take.
    :param clock: tells the time, in seconds.
    """

    def __init__(
        self,
        client: Client,
        log: Log,
        *,
        limit: float = QUERY_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._log = log
        self._limit = limit
        self._clock = clock
        self._billed: int | None = None
        self._session: _Session | None = None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Run the statements of this block in a session: each finds the temporary tables of those before it.

        They end with the block. BigQuery ends those of a process that died after a day.
        """
        from google.api_core.exceptions import GoogleAPICallError

        self._session = session = _Session()
        try:
            yield
        finally:
            self._session = None
            if session.id:
                config = Statement("CALL BQ.ABORT_SESSION()").job_config(**session.options())
                try:
                    self._client.query(
                        "CALL BQ.ABORT_SESSION()", config, location=session.location, timeout=CALL_TIMEOUT
                    ).result(timeout=CALL_TIMEOUT)
                except (GoogleAPICallError, TimeoutError) as error:
                    self._log.warning(
                        "A session of BigQuery could not be ended, and ends in a day: %s", error
                    )

    def run(self, statement: Statement, location: str | None) -> RowIterator:
        """Run a statement or a script to its end, and return the rows of its last query.

        :param location: where it runs; ``None`` leaves it to BigQuery, or is where the session is.

        Raises what the client raises, and ``TimeoutError`` for a statement that takes too long, which is cancelled.
        """
        session = self._session
        config = statement.job_config(**(session.options() if session else {}))
        job = self._client.query(
            statement.sql,
            job_config=config,
            location=location or (session and session.location),
            timeout=CALL_TIMEOUT,
        )
        try:
            self.wait(job)
        finally:
            if session:
                session.note(job)
        # A kind of job that is not billed has no such property.
        billed = getattr(job, "total_bytes_billed", None)
        if billed is not None:
            self._billed = (self._billed or 0) + billed
        return job.result(timeout=CALL_TIMEOUT)

    def log_billed(self, what: str) -> None:
        """Log what BigQuery has billed for the statements so far, where it has told.

        :param what: they have done, for the message: "building the requests".
        """
        if self._billed is not None:
            self._log.info("BigQuery bills %s for %s", shown_bytes(self._billed), what)

    def wait(self, job: QueryJob | LoadJob) -> None:
        """Wait for a job; raises what :meth:`run` raises."""
        begin = self._clock()
        elapsed = 0.0
        while elapsed < self._limit:
            try:
                job.result(timeout=min(next_news(elapsed), self._limit) - elapsed)
                return
            except TimeoutError:
                elapsed = self._clock() - begin
            # A load job does not tell.
            read = getattr(job, "total_bytes_processed", None)
            processed = f", {shown_bytes(read)} read" if read else ""
            self._log.info(
                "The BigQuery job %s is still running after %d s%s", job.job_id, round(elapsed), processed
            )
        with suppress(Exception):
            job.cancel(timeout=CALL_TIMEOUT)
        raise TimeoutError(
            f"the BigQuery job {job.job_id} has not ended after {self._limit:.0f} s, and is cancelled. The next try "
            "runs it again"
        )
