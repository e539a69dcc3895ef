"""SQL reaches no file, no network and no setting of the machine that runs the local BigQuery server."""

from __future__ import annotations

import io

import pytest
from google.api_core.exceptions import BadRequest, GoogleAPICallError
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from airflow_gemini_batch.testing.bigquery.server import LocalBigQuery

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("locked")


@pytest.fixture(scope="module")
def client(folder):
    # A quote in the path must not end a setting.
    with LocalBigQuery(folder / "o'brien") as server:
        client = bigquery.Client(
            project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": server.url}
        )
        client.create_dataset("d")
        client.query("CREATE TABLE d.t AS SELECT 'import os' AS line").result()
        yield client


@pytest.fixture
def outside(folder):
    """A folder with a secret, which must stay as it is."""
    path = folder / "outside"
    path.mkdir(exist_ok=True)
    (path / "secret.txt").write_text("secret,secret\n1,2\n")
    yield path
    assert [entry.name for entry in path.iterdir()] == ["secret.txt"]


STATEMENTS = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('{outside}/secret.txt')",
    "SELECT * FROM read_blob('{outside}/secret.txt')",
    "SELECT * FROM read_csv('{outside}/secret.txt')",
    "SELECT * FROM read_csv_auto('{outside}/*.txt')",
    "SELECT * FROM read_json('{outside}/secret.txt')",
    "SELECT * FROM read_parquet('{outside}/secret.txt')",
    "SELECT * FROM sniff_csv('{outside}/secret.txt')",
    "SELECT * FROM parquet_metadata('{outside}/secret.txt')",
    "SELECT * FROM glob('{outside}/*')",
    "SELECT * FROM `{outside}/secret.txt`",
    "SELECT * FROM query('SELECT * FROM read_text(''{outside}/secret.txt'')')",
    "SELECT * FROM query_table('{outside}/secret.txt')",
    "SELECT (SELECT content FROM read_text('{outside}/secret.txt'))",
    "CREATE TABLE d.stolen AS SELECT * FROM read_text('{outside}/secret.txt')",
    "CREATE VIEW d.stolen AS SELECT * FROM read_text('{outside}/secret.txt')",
    "CREATE EXTERNAL TABLE d.stolen OPTIONS(format='CSV', uris=['{outside}/secret.txt'])",
    "INSERT INTO d.t SELECT content FROM read_text('{outside}/secret.txt')",
    "MERGE d.t USING (SELECT * FROM read_text('{outside}/secret.txt')) s ON FALSE WHEN NOT MATCHED THEN "
    "INSERT (line) VALUES (s.content)",
    "LOAD DATA INTO d.stolen FROM FILES(format='CSV', uris=['file://{outside}/secret.txt'])",
    "COPY (SELECT 1) TO '{outside}/dag.py'",
    "COPY d.t TO '{outside}/dag.py' (HEADER false)",
    "COPY d.t FROM '{outside}/secret.txt'",
    "EXPORT DATABASE '{outside}/all'",
    "IMPORT DATABASE '{outside}'",
    "EXPORT DATA OPTIONS(uri='{outside}/dag-*.py', format='CSV') AS SELECT 1 AS a",
    "EXPORT DATA OPTIONS(uri='file://{outside}/dag-*.json', format='JSON') AS SELECT 1 AS a",
    "ATTACH '{outside}/new.db'",
    "ATTACH '{outside}/new.db' AS other (TYPE sqlite)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{outside}/secret.txt'",
    "FORCE INSTALL spatial FROM 'http://127.0.0.1:9'",
    "SELECT * FROM read_text('http://127.0.0.1:9/a')",
    "SELECT ST_GEOGPOINT(1, 2)",
    "SELECT * FROM duckdb_secrets()",
    "CREATE SECRET stolen (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "SET memory_limit = '99GB'",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_directories = ['/']",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "PRAGMA memory_limit = '99GB'",
    "PRAGMA profiling_output = '{outside}/profile.json'",
    "SET log_query_path = '{outside}/log.txt'",
    "CALL enable_logging(storage = 'file', storage_config = {{'path': '{outside}/log'}})",
]


SCRIPTS = {"plain": "{}", "immediate": 'EXECUTE IMMEDIATE """{}"""', "script": "BEGIN {}; END"}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_statement_reaches_a_file_or_a_setting(client, outside, statement, script):
    sql = SCRIPTS[script].format(statement.format(outside=outside))
    with pytest.raises((GoogleAPICallError, ValueError)) as refused:
        client.query(sql, job_retry=None).result(job_retry=None)
    assert "secret,secret" not in str(refused.value)


def test_a_refusal_says_that_files_are_off(client):
    with pytest.raises(BadRequest, match="file system operations are disabled"):
        client.query("SELECT * FROM read_text('/etc/passwd')").result()
    with pytest.raises(BadRequest, match="the configuration has been locked"):
        client.query("EXECUTE IMMEDIATE \"SET memory_limit = '99GB'\"").result()


@pytest.mark.parametrize(
    ("uri", "refusal"),
    [
        ("file://{outside}/dag.py", "is not a gs:// address"),
        ("{outside}/dag.py", "is not a gs:// address"),
        # The name of an object, which is sent to the storage server, if there is one.
        ("gs://bucket/../..{outside}/dag.py", "knows no storage server"),
    ],
)
def test_extract_jobs_write_to_buckets_only(client, outside, uri, refusal):
    with pytest.raises(GoogleAPICallError, match=refusal):
        client.extract_table("p.d.t", uri.format(outside=outside)).result()


@pytest.mark.parametrize(
    "uri",
    [
        "file://{outside}/secret.txt",
        "file:///etc/passwd",
        "file://{uploads}/../../outside/secret.txt",
        "file://{uploads}",
        "file:///dev/zero",
        "{outside}/secret.txt",
        "http://127.0.0.1:9/secret.txt",
    ],
)
def test_a_load_job_reads_uploads_and_buckets_only(client, folder, outside, uri):
    uri = uri.format(outside=outside, uploads=folder / "o'brien" / "uploads")
    config = bigquery.LoadJobConfig(autodetect=True, source_format="CSV")
    with pytest.raises(BadRequest, match="is not a gs:// address"):
        client.load_table_from_uri(uri, "p.d.stolen", job_config=config).result()


def test_uploads_are_still_read_and_large_results_spill(client):
    config = bigquery.LoadJobConfig(autodetect=True, source_format="CSV")
    client.load_table_from_file(io.BytesIO(b"a,b\n1,2\n"), "p.d.uploaded", job_config=config).result()
    assert [tuple(row.values()) for row in client.list_rows("p.d.uploaded")] == [(1, 2)]
    limits = "SELECT name, value FROM duckdb_settings() WHERE name IN ('memory_limit', 'lock_configuration')"
    assert {row.name: row.value for row in client.query(limits).result()} == {
        "lock_configuration": "true",
        "memory_limit": "1.8 GiB",
    }


def test_the_second_engine_of_the_emulator_is_off(client):
    from bqemulator.domain.errors import UnsupportedFeatureError
    from bqemulator.types.geography import _ensure_conv_conn

    with pytest.raises(UnsupportedFeatureError):
        _ensure_conv_conn()
