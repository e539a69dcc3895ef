"""Answers and failures meet what is there already: newer ones win, and landing twice changes nothing."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import pytest
from google.api_core.exceptions import BadRequest

from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from tests.landing.landings import (
    TEXT,
    bad,
    genre,
    good,
    later,
    plan_of,
)
from tests.landing.newer_cases import check, land_all
from tests.support.tables import bigquery_client


@pytest.mark.parametrize("bookkeeping", [True, False], ids=["bookkeeping", "plain"])
def test_landing_twice_changes_nothing(landing, bookkeeping):
    plan = plan_of({"genre": str}, bookkeeping=bookkeeping)
    source = landing.requests("978-1", "978-2", "978-3")
    manifest = landing.manifest(source, landing.output(("978-1", genre("novel")), ("978-2", bad())))
    first = landing.run(plan, manifest)
    before = (landing.landed(), landing.failures())
    assert landing.run(plan, manifest) == first
    assert (landing.landed(), landing.failures()) == before
    assert [len(rows) for rows in before] == [1, 2]


def test_landing_twice_changes_nothing_where_the_output_tells_no_time(landing):
    source = landing.requests("978-1", "978-2")
    output = landing.output(("978-1", good("A")), ("978-2", bad()), without=["processed_time"])
    manifest = landing.manifest(source, output)
    landing.run(TEXT, manifest)
    before = (landing.landed(), landing.failures())
    assert before[0]["978-1"][8] is not None
    landing.run(TEXT, manifest)
    assert (landing.landed(), landing.failures()) == before


def test_newer_rows_win(landing):
    land_all(lambda *rows: landing.land(TEXT, *rows))
    check(landing.landed("answer"), landing.failures("message"))


def test_nothing_lands_when_the_failures_can_not(landing):
    landing.land(TEXT, ("978-1", good("old")))
    landing.run_sql(f"DROP TABLE {landing.failed.sql}")
    landing.run_sql(f"CREATE TABLE {landing.failed.sql} (isbn STRING, code INT64 NOT NULL)")
    source = landing.requests("978-1", "978-2")
    with pytest.raises(BadRequest):
        landing.run(TEXT, landing.manifest(source, landing.output(("978-1", later(good("new"))))))
    assert landing.landed("answer") == {"978-1": "old"}


class Rivals:
    """A client whose MERGE meets another one, some times."""

    def __init__(self, client: Any, message: str, times: int) -> None:
        self._client = client
        self._message = message
        self._left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def query(self, sql: str, **options: Any) -> Any:
        if "MERGE INTO" in sql and self._left:
            self._left -= 1
            before = sql.partition("BEGIN TRANSACTION")[0]
            if before.strip():
                self._client.query(before, **options).result()
            raise BadRequest(self._message)
        return self._client.query(sql, **options)


ABORTED = "Transaction is aborted due to concurrent update against table demo-project:books"


@pytest.mark.parametrize(
    ("message", "times", "lands"),
    [
        (ABORTED, 2, True),
        ("Could not serialize access to table due to concurrent update", 1, True),
        (ABORTED, 3, False),
        ("Syntax error", 1, False),
    ],
)
@pytest.mark.parametrize("target", [False, True], ids=["new-target", "target"])
def test_landing_beside_another_one_is_tried_again(landing, message, times, lands, target):
    if target:
        landing.land(TEXT, ("978-0", good("B")))
    client = Rivals(bigquery_client(landing.stack), message, times)
    tables = TableLanding(client, logging.getLogger(__name__), rival_pauses=(0.0, 0.0))
    manifest = landing.manifest(landing.requests("978-1"), landing.output(("978-1", good("A"))))
    with nullcontext() if lands else pytest.raises(BadRequest, match=message):
        tables.land(TEXT, [manifest], landing.target, landing.failed)
    answers = {**({"978-0": "B"} if target else {}), **({"978-1": "A"} if lands else {})}
    assert landing.landed("answer") == answers
