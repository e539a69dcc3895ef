"""Statements that take long: what the log tells of them, and what is billed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest, NotFound, ServiceUnavailable

from airflow_gemini_batch.gcp.queries import Queries, next_news, shown_bytes
from airflow_gemini_batch.gcp.statements import Statement
from airflow_gemini_batch.testing.stack import LOCATION
from tests.support.statements import before_statements
from tests.support.tables import bigquery_client

LOG = logging.getLogger("queries")


@pytest.mark.parametrize(
    ("elapsed", "due"),
    [
        (0, 60),
        (59.9, 60),
        (60, 120),
        (130, 300),
        (300, 600),
        (599, 600),
        (600, 1200),
        (1199.5, 1200),
        (1200, 1800),
        (86_400, 87_000),
    ],
)
def test_news_come_after_a_minute_and_then_less_and_less_often(elapsed, due):
    assert next_news(elapsed) == due


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10 * 1024**2, "10.0 MiB"),
        (1024**3 - 1, "1024.0 MiB"),
        (1_500_000_000_000, "1.4 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes_are_shown_in_the_units_of_the_prices(size, text):
    assert shown_bytes(size) == text


class Clock:
    """Stands still but while a job is waited for."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowJob:
    """A job that runs for some time; waiting for it takes none."""

    job_id = "job-1"
    cancelled = False

    def __init__(self, clock: Clock, seconds: float, read: int | None, billed: int | None) -> None:
        self._clock, self._end = clock, seconds
        self.total_bytes_processed, self.total_bytes_billed = read, billed

    def result(self, timeout: float) -> list[str]:
        if self._clock.now + timeout < self._end:
            self._clock.now += timeout
            raise TimeoutError
        self._clock.now = max(self._clock.now, self._end)
        return ["row"]

    def cancel(self, timeout: float) -> None:
        self.cancelled = True


class Client:
    """A client whose jobs run for as long as is said."""

    def __init__(self, *jobs: tuple[float, int | None, int | None]) -> None:
        self.clock = Clock()
        self.jobs = [SlowJob(self.clock, *job) for job in jobs]
        self._next: Iterator[Any] = iter(self.jobs)

    def query(self, _sql: str, **_: Any) -> Any:
        return next(self._next)


def run(client: Any, caplog: pytest.LogCaptureFixture, **options: Any) -> list[str]:
    """Run a statement for each job, and return what is logged."""
    caplog.set_level(logging.INFO)
    runner = Queries(client, LOG, clock=client.clock, **options)
    for _ in client.jobs:
        assert runner.run(Statement("SELECT 1"), None) == ["row"]
    runner.log_billed("building the requests")
    return [record.getMessage() for record in caplog.records]


def test_statement_that_takes_long_is_told(caplog):
    assert run(Client((700, 3 * 1024**3, None)), caplog) == [
        f"The BigQuery job job-1 is still running after {seconds} s, 3.0 GiB read"
        for seconds in (60, 120, 300, 600)
    ]


def test_statement_that_does_not_tell_what_it_has_read_is_told_without(caplog):
    assert run(Client((61, None, None)), caplog) == ["The BigQuery job job-1 is still running after 60 s"]


def test_bytes_billed_are_those_of_all_statements(caplog):
    jobs = [(1, None, 10 * 1024**2), (59, None, None), (1, None, 20 * 1024**2)]
    assert run(Client(*jobs), caplog) == ["BigQuery bills 30.0 MiB for building the requests"]


def test_nothing_is_said_of_money_where_bigquery_does_not_tell(caplog):
    assert run(Client((1, None, None)), caplog) == []


def test_statement_that_takes_too_long_is_cancelled(caplog):
    client = Client((100, None, None))
    with pytest.raises(
        TimeoutError, match="the BigQuery job job-1 has not ended after 90 s, and is cancelled"
    ):
        run(client, caplog, limit=90)
    assert client.jobs[0].cancelled


def test_statements_of_a_session_find_its_temporary_tables_until_it_ends(gemini_batch_stack):
    runner = Queries(bigquery_client(gemini_batch_stack), LOG)
    with runner.session():
        runner.run(Statement("CREATE TEMP TABLE t AS SELECT @p0 AS x", {"p0": "a"}), LOCATION)
        assert [row["x"] for row in runner.run(Statement("SELECT x FROM t"), None)] == ["a"]
    with pytest.raises((BadRequest, NotFound)):
        runner.run(Statement("SELECT x FROM t"), None)


def test_session_that_can_t_be_ended_is_told(gemini_batch_stack, caplog):
    runner = Queries(bigquery_client(gemini_batch_stack), LOG)

    def fail(number: int, _: str) -> None:
        if number == 1:
            raise ServiceUnavailable("try later")

    with before_statements(fail), runner.session():
        runner.run(Statement("CREATE TEMP TABLE t AS SELECT 1 AS x"), None)
    assert "A session of BigQuery could not be ended, and ends in a day: 503 try later" in caplog.text


def test_session_that_no_statement_has_begun_is_not_ended(gemini_batch_stack):
    runner = Queries(bigquery_client(gemini_batch_stack), LOG)
    sent: list[str] = []
    with (
        before_statements(lambda _, sql: sent.append(sql)),
        pytest.raises(BadRequest),
        runner.session(),
    ):
        raise BadRequest("before the first statement")
    assert sent == []


def test_rows_of_a_script_are_those_of_its_last_query(gemini_batch_stack):
    runner = Queries(bigquery_client(gemini_batch_stack), LOG)
    script = Statement("CREATE TEMP TABLE t AS SELECT @p0 AS x; SELECT x FROM t", {"p0": "a"})
    assert [row["x"] for row in runner.run(script, None)] == ["a"]
