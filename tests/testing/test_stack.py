"""The servers of a stack find each other without any variable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from airflow_gemini_batch.testing import PROJECT

if TYPE_CHECKING:
    import pytest

    from airflow_gemini_batch.testing import LocalStack


def test_bigquery_reaches_the_storage_of_its_stack(
    local_stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in local_stack.environment():
        monkeypatch.delenv(name, raising=False)
    warehouse = bigquery.Client(
        PROJECT, AnonymousCredentials(), client_options={"api_endpoint": local_stack.bigquery.url}
    )
    files = storage.Client(
        PROJECT, AnonymousCredentials(), client_options={"api_endpoint": local_stack.storage.url}
    )
    bucket = files.create_bucket("of-the-stack")
    warehouse.create_dataset("of_the_stack")

    bucket.blob("in.jsonl").upload_from_string('{"n": 1}\n')
    config = bigquery.LoadJobConfig(autodetect=True, source_format="NEWLINE_DELIMITED_JSON")
    warehouse.load_table_from_uri("gs://of-the-stack/in.jsonl", "of_the_stack.t", job_config=config).result()
    warehouse.query_and_wait(
        "EXPORT DATA OPTIONS(uri='gs://of-the-stack/out/*.csv', format='CSV') AS SELECT n FROM of_the_stack.t"
    )
    assert [blob.download_as_text() for blob in bucket.list_blobs(prefix="out/")] == ["n\n1\n"]
