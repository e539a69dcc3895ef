"""What the statements say; what they do is in test_tables.py."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from google.cloud.bigquery import SchemaField, Table

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.gcp.statements import Parameters, script
from airflow_gemini_batch.requests.bigquery.build_sql import RequestRows, sorting_statements
from airflow_gemini_batch.requests.bigquery.write_sql import Sharding, build_statement, request_columns
from airflow_gemini_batch.requests.done import done_query
from tests.requests.plans import plan

TYPES = {"isbn": "STRING", "title": "STRING", "year": "FLOAT64", "cover": "STRING"}
TABLE = BigQueryAddress.parse("bq://demo-project.books.requests_1")
TARGET = BigQueryAddress.parse("bq://demo-project.books.enriched")
ONE_JOB = Sharding(1, 200_000)
NASTY = "'; DROP TABLE books; -- \" ` \\ \n @p0 ? 😀"


def asked(**options):
    return RequestRows(plan(**options), "SELECT * FROM `demo-project.books.books`", TYPES)


SORTED = ("`demo-project.books.sorted_1`", "gemini_batch_rows.state IN ('NEW')")


def sorting(rows, **options):
    return script(*sorting_statements(rows, SORTED[0], **options))


def statements(rows):
    return [
        sorting(rows),
        build_statement(rows.sorted_in(*SORTED), {0: TABLE}, ONE_JOB),
    ]


@pytest.mark.parametrize("which", range(2), ids=["sorting", "build"])
def test_what_the_user_wrote_travels_in_parameters(which):
    rows = asked(
        prompt=f"{NASTY} [[ title | {NASTY} ]]",
        model=f"projects/p/locations/l/models/{NASTY}",
        request={"system_instruction": NASTY, "media": {"cover": NASTY}},
    )
    statement = statements(rows)[which]
    assert "DROP TABLE" not in statement.sql
    assert sum("DROP TABLE" in value for value in statement.parameters.values()) == 5
    used = set(re.findall(r"@(\w+)", statement.sql))
    assert used == set(statement.parameters)


def test_sorted_rows_have_a_state_and_what_is_needed_of_those_that_are_asked():
    sql = sorting(asked(prompt="[[ title ]] ([[ year ]], [[ isbn ]])")).sql
    assert sql.startswith(
        "CREATE OR REPLACE TABLE `demo-project.books.sorted_1`\n"
        "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))\n"
        "AS\nWITH source_rows AS (\nSELECT * FROM `demo-project.books.books`\n), "
    )
    assert "CAST(gemini_batch_rows.`year` AS STRING) AS column_1" in sql
    items = sql.rpartition("FROM sorted_rows;")[0].rpartition("SELECT\n")[2]
    assert re.findall(r" AS (\w+),?$", items, re.MULTILINE) == [
        *("state", "answers", "characters", "files", "digest", "bad_key"),
        *("key_0", "column_0", "column_1"),
    ]


def test_requests_are_made_of_the_sorted_rows_alone():
    rows = asked(prompt="[[ title ]] ([[ YEAR ]])", key=("isbn",)).sorted_in(*SORTED)
    assert rows.rows == (
        "SELECT gemini_batch_rows.key_0 AS `isbn`, gemini_batch_rows.column_0 AS `title`, "
        "gemini_batch_rows.column_1 AS `YEAR` FROM `demo-project.books.sorted_1` AS gemini_batch_rows "
        "WHERE gemini_batch_rows.state IN ('NEW')"
    )
    assert dict(rows.types) == {"isbn": "STRING", "title": "STRING", "YEAR": "STRING"}
    sql = build_statement(rows, {0: TABLE}, ONE_JOB).sql
    assert "books.books" not in sql
    assert "sorted_rows" not in sql


def test_request_table_is_one_statement_that_keeps_what_is_there_and_ends_by_itself():
    sql = build_statement(asked().sorted_in(*SORTED), {0: TABLE}, ONE_JOB).sql
    assert sql.startswith(
        "CREATE TABLE IF NOT EXISTS `demo-project.books.requests_1`\n"
        "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 14 DAY))\n"
        "AS\nWITH source_rows AS (\nSELECT gemini_batch_rows.key_0 AS `isbn`"
    )
    assert sql.endswith(
        "SELECT\n  key_0 AS `isbn`,\n  request AS `request`,\n  fingerprint AS `batch_fingerprint`\n"
        "FROM fingerprinted"
    )
    assert ";" not in sql


def test_table_that_ends_soon_is_written_anew():
    sql = build_statement(asked().sorted_in(*SORTED), {0: TABLE}, ONE_JOB, replace={TABLE}).sql
    assert sql.startswith("CREATE OR REPLACE TABLE `")


def test_tables_of_several_jobs_are_cut_from_rows_that_are_read_once():
    tables = {number: TABLE.with_table(f"part_{number}") for number in (0, 2)}
    rows = asked().sorted_in(*SORTED)
    sql = build_statement(rows, tables, Sharding(250, 100), replace={tables[2]}).sql
    first, *parts = sql.split(";\n")
    assert first.startswith(
        "CREATE TEMP TABLE asked_rows PARTITION BY RANGE_BUCKET(batch_shard, GENERATE_ARRAY(0, 3, 1)) AS\n"
        "WITH source_rows AS ("
    )
    assert sql.count("source_rows AS (") == 1
    assert [part.partition(" `")[0] for part in parts] == [
        "CREATE TABLE IF NOT EXISTS",
        "CREATE OR REPLACE TABLE",
    ]
    assert [part.rpartition("AS\n")[2] for part in parts] == [
        f"SELECT * EXCEPT (batch_shard) FROM asked_rows WHERE batch_shard = {number}" for number in tables
    ]


@pytest.mark.parametrize(
    ("requests", "limit", "numbered_up_to", "jobs", "expression"),
    [
        pytest.param(0, 10, 100, 0, None, id="nothing"),
        pytest.param(10, 10, 100, 1, None, id="full"),
        pytest.param(11, 10, 100, 2, "MOD(ROW_NUMBER() OVER (ORDER BY key_text), 2)", id="one-too-many"),
        pytest.param(5, 1, 100, 5, "MOD(ROW_NUMBER() OVER (ORDER BY key_text), 5)", id="one-each"),
        pytest.param(101, 200, 100, 1, None, id="many-in-one"),
        # The mean of a job is 72 of 100, so that none gets more.
        pytest.param(150, 100, 100, 3, "ABS(MOD(FARM_FINGERPRINT(key_text), 3))", id="many"),
    ],
)
def test_requests_are_divided_among_as_few_jobs_as_hold_them(
    requests, limit, numbered_up_to, jobs, expression
):
    sharding = Sharding(requests, limit, numbered_up_to)
    assert sharding.count == jobs
    assert expression is None or sharding.expression == expression


def test_temporary_table_of_sorted_rows_holds_the_same():
    for_a_day = "OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))\n"
    kept = sorting(asked()).sql.replace("CREATE OR REPLACE TABLE", "CREATE TEMP TABLE").replace(for_a_day, "")
    assert sorting(asked(), temporary=True).sql == kept


def test_fingerprint_is_of_the_plain_model_name_and_the_request():
    statement = sorting(asked())
    (name,) = [name for name, value in statement.parameters.items() if value == "gemini-2.5-flash\n"]
    assert f"SUBSTR(TO_HEX(SHA256(CONCAT(@{name}, request))), 1, 32) AS fingerprint" in statement.sql


def test_key_of_another_type_in_the_enriched_table_is_compared_as_text():
    schema = [SchemaField("isbn", "INTEGER"), SchemaField("batch_fingerprint", "STRING")]
    done = done_query(TARGET, Table(TARGET.dotted, schema), ("isbn",))
    sql = sorting(replace(asked(), known=done)).sql
    assert (
        "marks AS (\n  SELECT\n    CAST(gemini_batch_rows.`isbn` AS STRING) AS key_text,\n"
        "    gemini_batch_rows.`batch_fingerprint` AS fingerprint,\n    'target' AS place,\n    '' AS question\n"
        "  FROM `demo-project.books.enriched` AS gemini_batch_rows\n"
        "  WHERE gemini_batch_rows.`isbn` IS NOT NULL AND gemini_batch_rows.`batch_fingerprint` IS NOT NULL\n)"
    ) in sql
    assert "`isbn` AS key_text" in sql


def test_query_that_ends_in_a_comment_does_not_hide_the_rest():
    rows = RequestRows(plan(), "WITH x AS (SELECT 1) SELECT * FROM x -- all", TYPES)
    assert "WITH source_rows AS (\nWITH x AS (SELECT 1) SELECT * FROM x -- all\n), filled AS (" in (
        sorting(rows).sql
    )


def test_columns_of_a_request_table_are_the_key_the_request_and_its_fingerprint():
    assert request_columns(plan(key=("a b", "c")), Parameters()) == [
        ("key_0", "a b"),
        ("key_1", "c"),
        ("request", "request"),
        ("fingerprint", "batch_fingerprint"),
    ]
