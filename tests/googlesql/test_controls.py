"""What BigQuery refuses is refused here, so that the settings can't go lenient; what it takes is taken."""

from __future__ import annotations

import functools
import re

import pytest

from tests.googlesql.analyzer import Case, judged

pytestmark = pytest.mark.slow

COLUMNS = {"a": "STRING", "n": "INT64", "j": "JSON", "x": "FLOAT64", "at": "TIMESTAMP", "l": "ARRAY<STRING>"}
TABLES = {"p.d.t": COLUMNS, "p.d.u": COLUMNS}

REFUSED = [
    ("SELECT j = j FROM `p.d.t`", "Equality is not defined"),
    ("SELECT j FROM `p.d.t` GROUP BY j", "Grouping by expressions of type JSON"),
    ("SELECT DISTINCT j FROM `p.d.t`", "SELECT DISTINCT"),
    ("SELECT a FROM `p.d.t` ORDER BY j", "ORDER BY does not support"),
    ("SELECT ROW_NUMBER() OVER (PARTITION BY j) FROM `p.d.t`", "Partitioning by expressions of type JSON"),
    ("SELECT x FROM `p.d.t` UNION DISTINCT SELECT j FROM `p.d.t`", "type"),
    ("SELECT COUNT(DISTINCT l) FROM `p.d.t`", "with DISTINCT"),
    ("SELECT ROW_NUMBER() OVER (PARTITION BY x) FROM `p.d.t`", "Partitioning by expressions of type FLOAT64"),
    # Lateral aliases, and names that others hide.
    ("SELECT n AS m, m + 1 FROM `p.d.t`", "Unrecognized name: m"),
    ("SELECT n + 1 AS m FROM `p.d.t` WHERE m > 1", "Unrecognized name: m"),
    ("WITH a AS (SELECT a FROM `p.d.t`) SELECT CONCAT(a, 'x') FROM a", "No matching signature"),
    ("SELECT a FROM `p.d.t`, `p.d.u`", "ambiguous"),
    ("SELECT a, COUNT(*) FROM `p.d.t`", "neither grouped nor aggregated"),
    (
        "MERGE INTO `p.d.t` AS a USING `p.d.u` AS s ON a.n = s.n WHEN MATCHED THEN UPDATE SET a = s.a",
        "entire row",
    ),
    # Words of the language, and syntax of other engines.
    ("SELECT at FROM `p.d.t`", "Unexpected keyword AT"),
    ("SELECT 1 AS rows", "Unexpected keyword ROWS"),
    ("SELECT a::INT64 FROM `p.d.t`", "Syntax error"),
    ("SELECT * EXCLUDE (a) FROM `p.d.t`", "Syntax error"),
    ("SELECT COUNT(*) FILTER (WHERE n > 1) FROM `p.d.t`", "Syntax error"),
    ("FROM `p.d.t` SELECT a", "Syntax error"),
    ("SELECT LIST(a) FROM `p.d.t`", "Function not found"),
    ("SELECT a -> '$.x' FROM `p.d.t`", "Syntax error|Lambda|->"),
    ("SELECT [1, 2][1:2]", "Syntax error"),
    ("SELECT ARRAY_FILTER(l, e -> e = 'x') FROM `p.d.t`", "not supported|not found|ambda"),
    ("SELECT a FROM `p.d.t` AS t JOIN LATERAL (SELECT t.n)", "Syntax error|LATERAL|ateral"),
    ("INSERT INTO `p.d.t` (a) VALUES ('x') ON CONFLICT DO NOTHING", "Syntax error|not supported"),
    ("INSERT INTO `p.d.t` (a) VALUES ('x') THEN RETURN a", "Syntax error|THEN RETURN"),
    ("CREATE DATABASE d", "not supported"),
    # Types.
    ("SELECT CAST(n AS FLOAT32) FROM `p.d.t`", "FLOAT32|Type not found"),
    ("SELECT CAST(n AS INT32) FROM `p.d.t`", "Type not found"),
    ("SELECT CAST(n AS VARCHAR) FROM `p.d.t`", "Type not found"),
    ("SELECT CAST(l AS STRING) FROM `p.d.t`", "Invalid cast"),
    ("SELECT n || 'x' FROM `p.d.t`", "No matching signature"),
    ("SELECT IF(n, 1, 2) FROM `p.d.t`", "No matching signature"),
    ("SELECT COALESCE(n, 'x') FROM `p.d.t`", "No matching signature"),
    ("SELECT CONCAT(n, 'x') FROM `p.d.t`", "No matching signature"),
    ("SELECT n FROM `p.d.t` UNION ALL SELECT a FROM `p.d.t`", "incompatible types"),
    ("INSERT INTO `p.d.t` (n) VALUES ('x')", "cannot be inserted"),
    ("CREATE TABLE `p.d.v` (n INT64) AS SELECT 'x' AS n", "INT64"),
    ("CREATE TABLE `p.d.v` (n INT64, N STRING)", "Duplicate"),
    # Names that are not there.
    ("SELECT b FROM `p.d.t`", "Unrecognized name: b"),
    ("SELECT 1 FROM `p.d.missing`", "Table not found"),
    ("SELECT a FROM `p.d.t` WHERE a = @missing", "parameter"),
    ("CREATE TEMP TABLE v AS SELECT a FROM `p.d.t`; SELECT n FROM v", "Unrecognized name: n"),
    # What BigQuery refuses by itself.
    (
        "WITH r AS (WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n FROM s) SELECT n FROM s) SELECT n FROM r",
        "WITH RECURSIVE is allowed at the top level only",
    ),
    ("BEGIN TRANSACTION; CREATE TABLE `p.d.v` (n INT64); COMMIT TRANSACTION", "no DDL"),
    ("BEGIN TRANSACTION; ALTER TABLE `p.d.t` ADD COLUMN y INT64; COMMIT TRANSACTION", "no DDL"),
    ("CREATE VIEW `p.d.v` AS SELECT a FROM `p.d.t` WHERE a = @p0", "takes no query parameters"),
    (
        "EXPORT DATA OPTIONS (uri = CONCAT('gs://b/', FORMAT('%d', 1), '*'), format = 'JSON') AS SELECT 1 AS n",
        "constant expression",
    ),
    (f"SELECT '{'x' * 1_000_000}'", "1,000,0.. bytes"),
]

TAKEN = [
    "SELECT t.a, ANY_VALUE(j) FROM `p.d.t` AS t GROUP BY t.a HAVING COUNT(*) > 1 ORDER BY 1 NULLS LAST",
    "SELECT `at`, `A` FROM `p.d.t` WHERE `AT` IS NOT NULL AND N = 1",
    "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 9) SELECT n FROM s",
    "SELECT a FROM `p.d.t` WHERE a = @p0 -- WITH RECURSIVE (",
    "BEGIN TRANSACTION; CREATE TEMP TABLE v AS SELECT a FROM `p.d.t`; DELETE FROM `p.d.u` WHERE a IN (SELECT a FROM v);"
    " COMMIT TRANSACTION",
    "CREATE TABLE `p.d.v` OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)) AS "
    "SELECT FORMAT('%d', n) AS text FROM `p.d.t`",
    "FROM `p.d.t` |> WHERE n > 1 |> SELECT a",
    "SELECT SAFE.PARSE_JSON(a, wide_number_mode => 'round').x[0] FROM `p.d.t`",
    "SELECT l[SAFE_OFFSET(0)], l[0] FROM `p.d.t` QUALIFY ROW_NUMBER() OVER (PARTITION BY a) = 1",
]


@functools.cache
def said() -> dict[str, str]:
    """What is said of each control, with one catalog for all."""
    cases = [Case(sql, TABLES, {"p0": "STRING"}) for sql in (*(sql for sql, _ in REFUSED), *TAKEN)]
    return {one.case.sql: "\n".join(one.faults) for one in judged(cases)}


@pytest.mark.parametrize(("sql", "reason"), REFUSED, ids=[sql[:60] for sql, _ in REFUSED])
def test_what_bigquery_refuses_is_refused(sql, reason):
    assert re.search(reason, said()[sql]), said()[sql] or "it was taken"


@pytest.mark.parametrize("sql", TAKEN)
def test_what_bigquery_takes_is_taken(sql):
    assert said()[sql] == ""


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case("SELECT 1", parameters={f"p{n}": "STRING" for n in range(10_001)}), "10,001 parameters"),
        (Case("SELECT 1", {f"p.d.t{n}": {"a": "STRING"} for n in range(1_001)}), "1,001 tables"),
    ],
    ids=["parameters", "tables"],
)
def test_quotas_of_a_query(case, reason):
    (one,) = judged([case])
    assert reason in "".join(one.faults)


def test_column_hides_behind_the_table_where_its_name_is_a_path():
    """Why a table's whole name stands in one pair of backticks, and why each column is qualified all the same."""
    case = Case("SELECT CONCAT(t, 'x') FROM `p.d.t`", {"p.d.t": {"t": "STRING"}})
    assert [next(judged([case], nested=nested)).faults != () for nested in (False, True)] == [False, True]
