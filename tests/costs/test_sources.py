"""Estimates of requests where they lie, with the real clients against the local servers."""

from __future__ import annotations

from datetime import date

import pytest

from airflow_gemini_batch.core.addresses import parse_address
from airflow_gemini_batch.core.defaults import SAMPLE_ROWS
from airflow_gemini_batch.core.model_families import GENERATE_CONTENT, TEXT_EMBEDDING, ModelFamily
from airflow_gemini_batch.costs.estimate import Estimate
from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.costs.rates import Prices, Rate
from airflow_gemini_batch.costs.request_size import estimate_sources
from airflow_gemini_batch.exceptions import InvalidRequestError, SourceNotReadyError
from airflow_gemini_batch.hooks.gemini_batch import GeminiBatchHook
from tests.support.requests_data import request, storage_client, upload
from tests.support.tables import fill, make_dataset

TABLE = PriceTable({"pro": [Rate(Prices(1, 6, 1), Prices(2, 9, 2), "2026-11")]})
FORTY = request("x" * 40)


def expected(*sources: str, family: ModelFamily = GENERATE_CONTENT, **settings: int) -> Estimate:
    addresses = [parse_address(source) for source in sources]
    return estimate_sources(
        GeminiBatchHook().store, addresses, "pro", family, TABLE, on=date(2026, 11, 30), **settings
    )


def test_small_files_are_counted(gemini_batch_stack, bucket):
    for number in range(3):
        upload(gemini_batch_stack, bucket, f"part-{number}.jsonl", [FORTY] * (number + 1))
    upload(gemini_batch_stack, bucket, "part-empty.jsonl", [])
    found = expected(f"gs://{bucket}/part-*.jsonl")
    assert (found.rows, found.prompt_tokens) == (6, 60)
    assert "estimated from all rows" in found.basis


def test_rows_of_large_files_are_estimated(gemini_batch_stack, bucket):
    file = upload(gemini_batch_stack, bucket, "many.jsonl", [FORTY] * 3 * SAMPLE_ROWS)
    found = expected(file)
    assert (found.rows, found.prompt_tokens) == (3000, 30_000)
    assert "estimated from 1,000 of 3,000 rows" in found.basis
    assert "estimated from the size" in found.basis


def test_rows_beyond_the_sampled_files_are_estimated(gemini_batch_stack, bucket):
    for number in range(12):
        upload(gemini_batch_stack, bucket, f"part-{number}.jsonl", [FORTY])
    found = expected(f"gs://{bucket}/part-*.jsonl")
    assert found.rows == 12
    assert "estimated from 10 of 12 rows" in found.basis


def test_table_tells_its_number_of_rows(gemini_batch_stack):
    rows = [{"isbn": str(number), **FORTY} for number in range(5)]
    dataset = make_dataset(gemini_batch_stack)
    table = fill(gemini_batch_stack, f"{dataset}.r", {"isbn": "STRING", "request": "JSON"}, rows)
    found = expected(table, sample_rows=2)
    assert (found.rows, found.prompt_tokens) == (5, 50)
    assert "estimated from 2 of 5 rows" in found.basis


def test_table_of_texts_is_measured_by_its_columns(gemini_batch_stack):
    columns = {"isbn": "STRING", "content": "STRING", "title": "STRING"}
    rows = [{"isbn": "1", "content": "x" * 36, "title": "four"}]
    table = fill(gemini_batch_stack, f"{make_dataset(gemini_batch_stack)}.r", columns, rows)
    found = expected(table, family=TEXT_EMBEDDING)
    assert (found.rows, found.prompt_tokens, found.output_tokens) == (1, 10, 0)


def test_source_that_does_not_exist_is_not_ready(gemini_batch_stack, bucket):
    dataset = make_dataset(gemini_batch_stack)
    for source in (f"gs://{bucket}/nowhere.jsonl", f"{dataset}.nowhere"):
        with pytest.raises(SourceNotReadyError, match="nowhere"):
            expected(source)


def test_file_without_a_request_is_refused(gemini_batch_stack, bucket):
    storage_client(gemini_batch_stack).bucket(bucket).blob("a.jsonl").upload_from_string("oops\n")
    with pytest.raises(InvalidRequestError, match="none of the first 1 rows"):
        expected(f"gs://{bucket}/a.jsonl")
