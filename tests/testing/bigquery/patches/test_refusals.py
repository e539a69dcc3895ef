"""What BigQuery's analyzer refuses, and what it takes that looks alike. Each was put to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from google.api_core.exceptions import ClientError

from tests.testing.bigquery.patches.conftest import Query

if TYPE_CHECKING:
    from google.cloud import bigquery

_RECURSIVE = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT * FROM r"
_JSON = "type JSON|not JSON|Type JSON"

REFUSED = {
    "SELECT j FROM ds.t AS t WHERE j = j": "Equality is not defined for arguments of type JSON",
    "SELECT t.k FROM ds.t AS t JOIN ds.s AS s ON t.j = s.j": "Equality is not defined for arguments of type JSON",
    "SELECT t.k FROM ds.t AS t JOIN ds.s AS s USING (j)": _JSON,
    "SELECT j FROM ds.t WHERE j != JSON '1'": "Inequality is not defined",
    "SELECT j FROM ds.t WHERE j IN (SELECT j FROM ds.s)": "IN is not defined",
    "SELECT j FROM ds.t WHERE j BETWEEN j AND j": "BETWEEN is not defined",
    "SELECT j IS NOT DISTINCT FROM j FROM ds.t": "Grouping is not defined",
    "SELECT j FROM ds.t GROUP BY j": "Grouping by expressions of type JSON is not allowed",
    "SELECT j FROM ds.t GROUP BY 1": "Grouping by expressions of type JSON is not allowed",
    "SELECT JSON_QUERY(j, '$.a') AS x FROM ds.t GROUP BY x": "Grouping by expressions of type JSON is not allowed",
    "WITH a AS (SELECT j AS x FROM ds.t) SELECT x FROM a GROUP BY x": "Grouping by expressions of type JSON",
    "SELECT DISTINCT * FROM ds.t": "Column j of type JSON cannot be used in SELECT DISTINCT",
    "SELECT COUNT(DISTINCT j) FROM ds.t": "Aggregate functions with DISTINCT",
    "SELECT j FROM ds.t UNION DISTINCT SELECT j FROM ds.t": "Column 1 in UNION DISTINCT",
    "SELECT j FROM ds.t ORDER BY j": "ORDER BY does not support expressions of type JSON",
    "SELECT ROW_NUMBER() OVER (PARTITION BY j) FROM ds.t": "Partitioning by expressions of type JSON",
    "SELECT MAX(j) FROM ds.t": "MAX is not defined for arguments of type JSON",
    "SELECT CASE j WHEN j THEN 1 END FROM ds.t": _JSON,
    "SELECT CONCAT(j, 'x') FROM ds.t": "No matching signature",
    "SELECT CAST(j AS STRING) FROM ds.t": "Invalid cast from JSON to STRING",
    "UPDATE ds.t SET n = 1 WHERE j = j": "Equality is not defined",
    "MERGE ds.t AS t USING ds.s AS s ON t.j = s.j WHEN MATCHED THEN UPDATE SET n = 1": "Equality is not defined",
    "SELECT 1 AS a, a + 1 AS b": "Unrecognized name: a",
    "SELECT n AS m FROM ds.t WHERE m = 1": "Unrecognized name: m",
    "SELECT n AS m FROM ds.t AS t JOIN ds.s AS s ON m = 1": "Unrecognized name: m",
    "SELECT n AS m, (SELECT m) FROM ds.t": "Unrecognized name: m",
    "SELECT n AS m, ARRAY(SELECT m + x FROM UNNEST([1]) AS x) FROM ds.t": "Unrecognized name: m",
    "SELECT x, n + 1 AS x FROM ds.t": "Unrecognized name: x",
    "SELECT at FROM (SELECT 1 AS `at`)": "Unexpected keyword AT",
    "SELECT 1 AS rows": "Unexpected keyword ROWS",
    "SELECT 1 AS to": "Unexpected keyword TO",
    "CREATE TABLE ds.u (at INT64)": "Unexpected keyword AT",
    f"SELECT * FROM ({_RECURSIVE})": "WITH RECURSIVE is only allowed at the top level",
    f"WITH x AS ({_RECURSIVE}) SELECT * FROM x": "WITH RECURSIVE is only allowed at the top level",
    "BEGIN TRANSACTION; CREATE TABLE ds.u AS SELECT 1 AS a; COMMIT TRANSACTION": "not supported in a transaction",
    "BEGIN TRANSACTION; DROP TABLE ds.t; COMMIT TRANSACTION": "not supported in a transaction",
    "MERGE ds.t AS t USING (SELECT 'a' AS k UNION ALL SELECT 'a') AS s ON t.k = s.k WHEN MATCHED THEN UPDATE SET n=2": (
        "UPDATE/MERGE must match at most one source row for each target row"
    ),
    "MERGE ds.t AS t USING (SELECT 'a' AS k UNION ALL SELECT 'a') AS s ON t.k = s.k WHEN MATCHED THEN DELETE": (
        "UPDATE/MERGE must match at most one source row for each target row"
    ),
    "UPDATE ds.t AS t SET n = 2 FROM (SELECT 'a' AS k UNION ALL SELECT 'a') AS s WHERE t.k = s.k": (
        "UPDATE/MERGE must match at most one source row for each target row"
    ),
    "SELECT * FROM ds.T": "Not found: Table demo-project.*ds.T",
    "SELECT * FROM Ds.t": "Not found: Table demo-project.*Ds.t",
}

TAKEN = [
    "SELECT ANY_VALUE(j) FROM ds.t",
    "SELECT TO_JSON_STRING(j) AS j FROM ds.t GROUP BY TO_JSON_STRING(j)",
    "SELECT n AS m FROM ds.t GROUP BY m HAVING m = 1 ORDER BY m",
    "SELECT n AS m FROM ds.t WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY m ORDER BY m) = 1",
    "SELECT k AS n FROM ds.t WHERE n = 1",
    "SELECT x.a AS b, b FROM ds.s AS s, UNNEST(r) AS x, UNNEST([1]) AS b",
    "SELECT q.at, 1 AS date, 2 AS key, 3 AS value, 4 AS row FROM (SELECT 1 AS `at`) AS q",
    _RECURSIVE,
    f"CREATE OR REPLACE TABLE ds.v AS {_RECURSIVE}",
    "BEGIN TRANSACTION; CREATE TEMP TABLE u AS SELECT 1 AS a; DELETE FROM ds.t WHERE FALSE; COMMIT TRANSACTION",
    "MERGE ds.t AS t USING (SELECT 'b' AS k UNION ALL SELECT 'b') AS s ON t.k = s.k "
    "WHEN NOT MATCHED BY SOURCE THEN UPDATE SET n = 1",
    "MERGE ds.t AS t USING (SELECT 'a' AS k, 1 AS v UNION ALL SELECT 'a', 2) AS s ON t.k = s.k AND s.v = 1 "
    "WHEN MATCHED THEN UPDATE SET n = s.v",
    "SELECT K, N FROM ds.t",
    "SELECT k FROM demo-project.ds.t",
    "UPDATE demo-project.ds.t SET n = 1 WHERE TRUE",
    "CREATE OR REPLACE TABLE demo-project.ds.w AS SELECT 1 AS a",
    "TRUNCATE TABLE demo-project.ds.w",
    "DROP TABLE IF EXISTS demo-project.ds.w",
]


@pytest.fixture(scope="module")
def tables(client: bigquery.Client) -> Iterator[bigquery.Client]:
    client.create_dataset("ds")
    client.query_and_wait("CREATE TABLE ds.t AS SELECT 'a' AS k, JSON '1' AS j, 1 AS n")
    client.query_and_wait("CREATE TABLE ds.s (k STRING, j JSON, r ARRAY<STRUCT<a INT64>>)")
    yield client
    client.delete_dataset("ds", delete_contents=True)


@pytest.mark.parametrize(("sql", "message"), REFUSED.items(), ids=REFUSED)
def test_refuses(tables: bigquery.Client, sql: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        tables.query(sql, job_retry=None, retry=None).result(job_retry=None)


@pytest.mark.parametrize("sql", TAKEN)
def test_takes(tables: bigquery.Client, sql: str) -> None:
    tables.query(sql, job_retry=None).result(job_retry=None)


@pytest.mark.parametrize("key", ["a", "b"])
def test_parameters_may_stand_between_the_conditions_of_a_merge(query: Query, key: str) -> None:
    query("CREATE TABLE ds.u AS SELECT 'a' AS k, 1 AS n UNION ALL SELECT 'b', 1")
    rows = "SELECT @key AS k, @n AS n UNION ALL SELECT 'a', 2 UNION ALL SELECT @key, 3"
    merge = (
        f"MERGE ds.u AS t USING ({rows}) AS s ON t.k = s.k AND s.n = @n WHEN MATCHED THEN UPDATE SET n = s.n"
    )
    query(merge, n=2, key="b")
    with pytest.raises(ClientError, match="at most one source row") if key == "a" else nullcontext():
        query(merge, n=2, key=key)
