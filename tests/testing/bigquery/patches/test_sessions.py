from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud.bigquery import ConnectionProperty, QueryJob, QueryJobConfig

if TYPE_CHECKING:
    from google.cloud import bigquery


class Session:
    """The jobs of one session."""

    def __init__(self, client: bigquery.Client) -> None:
        self._client = client
        self._id = ""

    def run(self, sql: str) -> list[tuple[object, ...]]:
        named = [ConnectionProperty("session_id", self._id)] if self._id else []
        config = QueryJobConfig(create_session=not self._id, connection_properties=named)
        job: QueryJob = self._client.query(sql, job_config=config, job_retry=None)
        rows = [tuple(row.values()) for row in job.result(job_retry=None)]
        if not self._id:
            self._id = str(job.session_info.session_id)
        return rows


def test_tables_of_a_session_are_its_own_until_it_ends(client: bigquery.Client) -> None:
    one, other = Session(client), Session(client)
    one.run("CREATE TEMP TABLE kept AS SELECT 1 AS n")
    other.run("CREATE TEMP TABLE kept AS SELECT 2 AS n")
    assert one.run("SELECT n FROM kept") == [(1,)]
    assert other.run("CREATE TEMP TABLE more AS SELECT n + 1 AS n FROM kept; SELECT n FROM more") == [(3,)]
    # A script outside has tables of its own as well.
    (row,) = client.query_and_wait("CREATE TEMP TABLE more AS SELECT 4 AS n; SELECT n FROM more")
    assert row.n == 4
    assert other.run("SELECT n FROM more") == [(3,)]
    with pytest.raises((BadRequest, NotFound)):
        one.run("SELECT n FROM more")
    with pytest.raises((BadRequest, NotFound)):
        client.query_and_wait("SELECT n FROM kept")
    one.run("CALL BQ.ABORT_SESSION()")
    with pytest.raises(BadRequest, match="session id"):
        one.run("SELECT 1")
    assert other.run("SELECT n FROM kept") == [(2,)]
