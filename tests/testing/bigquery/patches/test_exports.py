from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.exceptions import BadRequest, NotFound
from pyarrow import parquet

from airflow_gemini_batch.core.model_families import GEMINI_EMBEDDING
from airflow_gemini_batch.requests.forms import row_faults
from tests.testing.bigquery.patches.conftest import NASTY, Query

if TYPE_CHECKING:
    from google.cloud import storage

Export = Callable[..., None]


@pytest.fixture
def export(query: Query, bucket: storage.Bucket) -> Export:
    """Export what a query selects into the test's bucket."""

    def run(
        select: str, name: str = "out/rows-*.jsonl", options: str = "format='JSON'", **parameters: Any
    ) -> None:
        statement = f"EXPORT DATA OPTIONS(uri='gs://{bucket.name}/{name}', {options}) AS {select}"
        assert query(statement, **parameters) == []

    return run


def contents(bucket: storage.Bucket) -> dict[str, bytes]:
    """Return the objects of a bucket by name."""
    return {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs()}


def lines(bucket: storage.Bucket) -> list[Any]:
    """Return the rows of all files of a bucket."""
    return [json.loads(line) for content in contents(bucket).values() for line in content.splitlines()]


def test_writes_requests_of_an_embedding_model(export: Export, query: Query, bucket: storage.Bucket) -> None:
    query("CREATE TABLE ds.books AS SELECT 'k1' AS book_id, @text AS text", text=NASTY)

    export(
        """SELECT book_id AS key, STRUCT(
             STRUCT([STRUCT(CONCAT(@before, text) AS text)] AS parts) AS content,
             STRUCT(768 AS output_dimensionality, 'RETRIEVAL_DOCUMENT' AS task_type, CAST(NULL AS STRING) AS title)
               AS embed_content_config) AS request
           FROM ds.books""",
        before='"@text": ',
    )

    assert contents(bucket).keys() == {"out/rows-000000000000.jsonl"}
    (row,) = lines(bucket)
    assert row == {
        "key": "k1",
        "request": {
            "content": {"parts": [{"text": f'"@text": {NASTY}'}]},
            "embed_content_config": {"output_dimensionality": "768", "task_type": "RETRIEVAL_DOCUMENT"},
        },
    }
    # A whole number may come as a string in proto3's JSON.
    assert row_faults(row, GEMINI_EMBEDDING) == []


VALUES: list[tuple[str, Any]] = [
    ("9007199254740993", "9007199254740993"),
    ("0.1", 0.1),
    ("CAST('NaN' AS FLOAT64)", "NaN"),
    ("CAST('-inf' AS FLOAT64)", "-Infinity"),
    ("NUMERIC '0.000000075'", "0.000000075"),
    ("CAST(100 AS NUMERIC)", "100"),
    ("TRUE", True),
    ("FROM_BASE64('AP8=')", "AP8="),
    ("DATE '2026-01-02'", "2026-01-02"),
    ("TIMESTAMP '2026-01-02 03:04:05.60+00'", "2026-01-02 03:04:05.6 UTC"),
    ("TIMESTAMP '2026-01-02 03:04:05+02'", "2026-01-02 01:04:05 UTC"),
    ("DATETIME '2026-01-02 03:04:05'", "2026-01-02T03:04:05"),
    ('PARSE_JSON(\'{"aB": [1, null, "x"]}\')', {"aB": [1, None, "x"]}),
    ("[0.5, 2.0]", [0.5, 2.0]),
    ("ARRAY<STRING>[]", []),
    ("[STRUCT(1 AS aB, CAST(NULL AS STRING) AS c)]", [{"aB": "1"}]),
    ("STRUCT(PARSE_JSON('{\"x\": 1}') AS j)", {"j": {"x": 1}}),
    ("'<b> & </b>'", "<b> & </b>"),
]


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=[text for text, _ in VALUES])
def test_writes_values_as_bigquery_does(
    export: Export, bucket: storage.Bucket, expression: str, value: Any
) -> None:
    export(f"SELECT {expression} AS aValue, CAST(NULL AS STRING) AS nothing")
    assert lines(bucket) == [{"aValue": value}]


def test_escapes_what_could_be_markup(export: Export, bucket: storage.Bucket) -> None:
    export("SELECT '<&>' AS v")
    assert list(contents(bucket).values()) == [b'{"v":"\\u003c\\u0026\\u003e"}\n']


def test_writes_several_files(
    export: Export, query: Query, bucket: storage.Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_gemini_batch.testing.bigquery.patches.exports.ROWS_PER_FILE", 2)
    export("SELECT n FROM UNNEST([1, 2, 3]) AS n ORDER BY n", name="*.jsonl")
    assert contents(bucket) == {
        "000000000000.jsonl": b'{"n":"1"}\n{"n":"2"}\n',
        "000000000001.jsonl": b'{"n":"3"}\n',
    }


def test_writes_an_empty_file_for_no_rows(export: Export, bucket: storage.Bucket) -> None:
    export("SELECT 1 AS n FROM UNNEST([1]) WHERE FALSE")
    assert list(contents(bucket).values()) == [b""]


def test_writes_parquet(export: Export, bucket: storage.Bucket) -> None:
    export("SELECT @text AS text, [0.5, 1.5] AS v", options="format='PARQUET'", text=NASTY)
    (content,) = contents(bucket).values()
    assert parquet.read_table(io.BytesIO(content)).to_pylist() == [{"text": NASTY, "v": [0.5, 1.5]}]


def test_replaces_files_only_when_told_to(export: Export, bucket: storage.Bucket) -> None:
    bucket.blob("out/rows-7.jsonl").upload_from_string("older")
    bucket.blob("out/rows-000000000000.txt").upload_from_string("other")
    with pytest.raises(BadRequest, match=r"already holds 1 files\. To replace them, set overwrite=true"):
        export("SELECT 1 AS n")
    with pytest.raises(BadRequest, match="overwrite=true"):
        export("SELECT 1 AS n", options="format='JSON', overwrite=false")
    assert len(contents(bucket)) == 2

    for number in (1, 2):
        export(f"SELECT {number} AS n", options="format='JSON', overwrite=true")
    assert contents(bucket) == {
        "out/rows-000000000000.jsonl": b'{"n":"2"}\n',
        "out/rows-000000000000.txt": b"other",
        "out/rows-7.jsonl": b"older",
    }


@pytest.mark.parametrize("name", ["rows.jsonl", "*/rows-*.jsonl"])
def test_refuses_an_address_without_exactly_one_wildcard(export: Export, name: str) -> None:
    with pytest.raises(BadRequest, match=r"exactly one '\*'"):
        export("SELECT 1 AS n", name=name)


def test_refuses_a_bucket_that_does_not_exist(query: Query, bucket: storage.Bucket) -> None:
    with pytest.raises(NotFound, match="Bucket no-such-bucket"):
        query("EXPORT DATA OPTIONS(uri='gs://no-such-bucket/*', format='JSON') AS SELECT 1 AS n")


@pytest.mark.parametrize(
    ("options", "named"),
    [("format='AVRO'", "AVRO"), ("format='JSON', compression='GZIP'", "with GZIP")],
)
def test_says_which_formats_it_does_not_write(export: Export, options: str, named: str) -> None:
    with pytest.raises(Exception, match=f"exports JSON.*PARQUET, not .*{named}"):
        export("SELECT 1 AS n", options=options)


def test_never_asks_the_real_cloud_storage(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    with pytest.raises(BadRequest, match="knows no storage server"):
        export("SELECT 1 AS n")


def test_fails_with_the_query(export: Export, bucket: storage.Bucket) -> None:
    with pytest.raises(NotFound):
        export("SELECT * FROM ds.no_such_table")
    assert contents(bucket) == {}
