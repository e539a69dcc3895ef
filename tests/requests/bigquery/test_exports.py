"""Request files that BigQuery writes, with the real clients against the local servers."""

from __future__ import annotations

import logging
from contextlib import nullcontext

import orjson
import pytest
from google.cloud.storage import Bucket

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.core.fingerprints import fingerprint_of
from airflow_gemini_batch.core.keys import sent_key, text_of_key
from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.requests.bigquery.builder import RECORD, ExportBuild
from airflow_gemini_batch.requests.forms import row_faults
from airflow_gemini_batch.requests.lines import fingerprint_of_line
from airflow_gemini_batch.requests.sources import parse_row_source
from tests.benchmarks.statements import Recorder
from tests.requests.plans import BOOKS, gemini_embedding_plan
from tests.requests.request_cases import NASTY
from tests.support.odd_keys import ODD_KEYS
from tests.support.requests_data import lines, storage_client
from tests.support.statements import before_statements
from tests.support.tables import fill

LOG = logging.getLogger("build")
MANY = parse_row_source(
    "SELECT CAST(n AS STRING) AS isbn, 'x' AS title FROM UNNEST(GENERATE_ARRAY(1, 150)) AS n"
)


@pytest.fixture
def objects(gemini_batch_stack):
    return storage_client(gemini_batch_stack)


@pytest.fixture
def folder(bucket):
    return GcsAddress(bucket, 'it\'s/"mine"')


@pytest.fixture
def export(client, objects):
    return ExportBuild(client, objects, LOG)


@pytest.fixture
def written(gemini_batch_stack):
    """Read the lines of a report's files, by key."""

    def written(report):
        rows = [row for source in report.sources for row in lines(gemini_batch_stack, source)]
        return {text_of_key(row["key"]): row for row in rows}

    return written


def names(objects, bucket):
    return {blob.name for blob in objects.list_blobs(bucket)}


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"task_type": "RETRIEVAL_DOCUMENT", "title": "[[ isbn ]]", "output_dimensionality": 256},
        {"task_type": "RETRIEVAL_DOCUMENT", "title": "[[ title ]]", "model": "gemini-embedding-2"},
        {"task_type": "CLUSTERING", "output_dimensionality": 256, "request_format": "flat"},
    ],
    ids=["text", "config", "title-in-text", "flat"],
)
def test_every_value_comes_through_as_python_would_write_it(export, folder, table, written, request_):
    rows = [{"isbn": f"b{n} {value}", "title": value} for n, value in enumerate(NASTY)]
    wanted = gemini_embedding_plan("About [[ title ]]", **request_)
    report = export.run(wanted, table(rows), folder)

    found = written(report)
    assert found.keys() == {row["isbn"] for row in rows}
    for row in rows:
        line, request = found[row["isbn"]], wanted.template.fill(row)
        assert row_faults(line, GEMINI_EMBEDDING) == []
        assert fingerprint_of_line(wanted.model, line) == fingerprint_of(wanted.model, request)
        assert line["request"]["content"] == orjson.loads(request)["content"]
    assert (report.rows, report.requests) == (len(rows), len(rows))


def test_key_is_exported_as_nothing_but_text(gemini_batch_stack, export, folder, table):
    rows = [{"isbn": key, "title": "A title."} for key in ODD_KEYS]
    report = export.run(gemini_embedding_plan(), table(rows), folder)
    sent = [line["key"] for source in report.sources for line in lines(gemini_batch_stack, source)]
    assert sorted(sent) == sorted(map(sent_key, ODD_KEYS))


def test_same_requests_are_the_same_objects(export, objects, folder, table, bucket):
    rows = [{"isbn": isbn, "title": isbn} for isbn in "abc"]
    source = table(rows)
    first = export.run(gemini_embedding_plan(), source, folder)
    before = names(objects, bucket)
    again = export.run(gemini_embedding_plan(), table(rows[::-1], name="other"), folder)
    assert again == first
    assert names(objects, bucket) == before
    other = export.run(gemini_embedding_plan("Other [[ title ]]"), source, folder)
    assert other.sources != first.sources


def test_export_that_died_half_way_is_never_read(export, objects, folder, table, bucket, written):
    source = table([{"isbn": "a", "title": "x"}])
    first = export.run(gemini_embedding_plan(), source, folder)
    (record,) = (name for name in names(objects, bucket) if name.endswith(RECORD))
    objects.bucket(bucket).blob(record).delete()

    again = export.run(gemini_embedding_plan(), source, folder)
    assert again.sources != first.sources
    assert written(again).keys() == {"a"}
    assert export.run(gemini_embedding_plan(), source, folder) == again


def test_files_that_were_deleted_are_written_anew(export, objects, folder, table, bucket, written):
    source = table([{"isbn": "a", "title": "x"}])
    first = export.run(gemini_embedding_plan(), source, folder)
    objects.bucket(bucket).blob(first.sources[0].removeprefix(f"gs://{bucket}/")).delete()
    assert written(export.run(gemini_embedding_plan(), source, folder)).keys() == {"a"}


def test_of_two_exports_at_once_one_is_taken(monkeypatch, client, objects, folder, table):
    source = table([{"isbn": "a", "title": "x"}])
    slow, fast = (ExportBuild(client, objects, LOG) for _ in range(2))
    look = Bucket.get_blob

    def overtaken(bucket, name):
        record = look(bucket, name)
        monkeypatch.setattr(Bucket, "get_blob", look)
        overtaken.first = fast.run(gemini_embedding_plan(), source, folder)
        return record

    monkeypatch.setattr(Bucket, "get_blob", overtaken)
    assert slow.run(gemini_embedding_plan(), source, folder) == overtaken.first


def test_source_that_changes_meanwhile_was_read_before(gemini_batch_stack, export, folder, table, written):
    source = table([{"isbn": "a", "title": "x"}])

    def change(number: int, _: str) -> None:
        if number == 1:
            fill(gemini_batch_stack, str(source.address), BOOKS, [{"isbn": "b", "title": "y"}])

    with before_statements(change):
        report = export.run(gemini_embedding_plan(), source, folder)
    assert (report.requests, written(report).keys()) == (1, {"a"})
    assert export.run(gemini_embedding_plan(), source, folder).requests == 2


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("query", ["", "SELECT * FROM {}", "WITH RECURSIVE x AS (SELECT 1) SELECT * FROM {}"])
def test_source_and_target_are_read_once(client, export, folder, table, dataset, written, shards, query):
    source = table([{"isbn": isbn, "title": isbn} for isbn in "abc"])
    if query:
        source = parse_row_source(query.format(source.address.sql))
    target = table([], {**BOOKS, "batch_fingerprint": "STRING"}, name="enriched")
    plan = gemini_embedding_plan(target=str(target.address), shard_rows=3 // shards)
    with Recorder() as recorder:
        report = export.run(plan, source, folder)
    assert (len(report.sources), written(report).keys()) == (shards, set("abc"))
    scans = recorder.total("scans")
    assert (scans["books"], scans["enriched"]) == (1, 1)
    assert {one.table_id for one in client.list_tables(dataset.dotted)} == {"books", "enriched"}


@pytest.mark.parametrize("title", ["x", " "], ids=["good", "bad"])
def test_session_ends_with_the_export(export, folder, table, title):
    source = table([{"isbn": "a", "title": title}])
    sent: list[str] = []
    refused = nullcontext() if title == "x" else pytest.raises(InvalidRequestError)
    with before_statements(lambda _, sql: sent.append(sql)), refused:
        export.run(gemini_embedding_plan("[[ title ]]"), source, folder)
    assert sent[-1] == "CALL BQ.ABORT_SESSION()"


def test_many_rows_are_divided_among_jobs(export, folder, written, gemini_batch_stack):
    report = export.run(gemini_embedding_plan(shard_rows=100), MANY, folder)
    assert [len(lines(gemini_batch_stack, source)) for source in report.sources] == [75, 75]
    assert written(report).keys() == {str(n) for n in range(1, 151)}


def test_job_of_several_files_is_a_list_of_them(export, folder, gemini_batch_stack):
    source = parse_row_source(
        "SELECT CAST(n AS STRING) AS isbn, 'x' AS title FROM UNNEST(GENERATE_ARRAY(1, 50001)) AS n"
    )
    (files,) = export.run(gemini_embedding_plan(), source, folder).sources
    assert [len(lines(gemini_batch_stack, file)) for file in files] == [50_000, 1]


def test_without_new_rows_nothing_is_written(export, objects, folder, table, bucket):
    report = export.run(gemini_embedding_plan(), table([]), folder)
    assert (report.requests, report.sources) == (0, ())
    assert names(objects, bucket) == set()


def test_bucket_that_does_not_exist_is_an_error(export, table):
    with pytest.raises(InvalidRequestError, match="the bucket does not exist"):
        export.run(
            gemini_embedding_plan(), table([{"isbn": "a", "title": "x"}]), GcsAddress("no-such-bucket", "x")
        )
