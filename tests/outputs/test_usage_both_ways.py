"""Tokens of a job's output, counted in files and in tables alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.cloud.storage import Blob

from airflow_gemini_batch.core.addresses import BigQueryAddress, GcsAddress
from airflow_gemini_batch.outputs.files import CloudStorage
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from airflow_gemini_batch.outputs.usage import Usage, merge_usage
from tests.benchmarks.statements import Recorder
from tests.outputs.row_shapes import candidate
from tests.outputs.usage_blocks import BLOCKS
from tests.support.requests_data import storage_client, upload
from tests.support.tables import bigquery_client, fill, make_dataset


def answered(prompt: Any, output: Any = 10, version: str = "gemini-2.5-flash", **more: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": output, **more}
    return {"status": "", "response": candidate(usageMetadata=counts, modelVersion=version)}


FAILED: dict[str, Any] = {"status": "Bad Request: {}", "response": {}}
BLOCKED = {
    "status": "",
    "response": {"usageMetadata": {"promptTokenCount": 7}, "modelVersion": "gemini-2.5-pro"},
}
ROWS = [
    answered(100, thoughtsTokenCount=5, cachedContentTokenCount=40),
    answered("200", 20.0),
    answered(200_001, 30, thoughtsTokenCount=6, cachedContentTokenCount=50),
    answered(200_000, 40),
    answered(-5, None),
    BLOCKED,
    FAILED,
    {"status": "", "response": None},
    {"status": "", "response": candidate(usageMetadata={"promptTokenCount": 3})},
]
USAGE = {
    "gemini-2.5-flash": Usage(4, 400_301, 100, 11, 90, 200_001, 36, 50),
    "gemini-2.5-pro": Usage(1, 7),
    "": Usage(1, 3),
}
REAL_ROWS = [{"status": "", "response": block.response} for block in BLOCKS]
REAL_USAGE = merge_usage(*({block.model: block.usage} for block in BLOCKS))
TEXT_ROWS = [
    {"status": "", "predictions": [{"embeddings": {"statistics": {"token_count": count}, "values": [0.2]}}]}
    for count in (8, 8.0, "9")
]
TEXT_USAGE = {"": Usage(3, 25)}

CASES = [(ROWS, USAGE), (REAL_ROWS, REAL_USAGE), (TEXT_ROWS, TEXT_USAGE)]


@pytest.fixture
def in_a_table(gemini_batch_stack):
    def count(rows: list[dict[str, Any]], kind: str) -> dict[str, Usage]:
        column = "predictions" if "predictions" in rows[0] else "response"
        as_text = [{**row, column: None if row[column] is None else json.dumps(row[column])} for row in rows]
        columns = {"status": "STRING", column: kind}
        address = f"{make_dataset(gemini_batch_stack)}.answers"
        fill(gemini_batch_stack, address, columns, rows if kind == "JSON" else as_text)
        storage = BigQueryStorage(bigquery_client(gemini_batch_stack))
        return storage.usage(BigQueryAddress.parse(address))

    return count


@pytest.fixture
def in_files(gemini_batch_stack, bucket):
    def count(rows: list[dict[str, Any]]) -> CloudStorage:
        for n, row in enumerate(rows):
            upload(gemini_batch_stack, bucket, f"out/predictions.jsonl-{n:05}-of-{len(rows):05}", [row])
        return CloudStorage(storage_client(gemini_batch_stack))

    return count


@pytest.mark.parametrize("kind", ["JSON", "STRING"])
@pytest.mark.parametrize(("rows", "usage"), CASES, ids=["text", "real", "vectors"])
def test_tables_are_added_up_by_model_version(in_a_table, rows, usage, kind):
    assert in_a_table(rows, kind) == usage


@pytest.mark.parametrize(("rows", "usage"), CASES, ids=["text", "real", "vectors"])
def test_files_are_added_up_by_model_version(in_files, bucket, rows, usage):
    assert in_files(rows).usage(GcsAddress(bucket, "out")) == usage


def test_files_are_read_once_for_outcomes_and_tokens(in_files, bucket, mocker):
    storage = in_files(ROWS[:2])
    read = mocker.spy(Blob, "download_to_file")
    assert storage.tally(GcsAddress(bucket, "out")).rows == 2
    assert storage.usage(GcsAddress(bucket, "out"))["gemini-2.5-flash"].rows == 2
    assert read.call_count == 2


def test_table_is_read_once_for_outcomes_and_tokens(gemini_batch_stack):
    dataset, asked = make_dataset(gemini_batch_stack), {"isbn": "STRING", "request": "STRING"}
    keys = [{"isbn": str(number)} for number in range(len(ROWS) + 1)]
    requests = fill(gemini_batch_stack, f"{dataset}.requests", asked, keys)
    # One request has no answer, one has two, and nobody has asked for the last row.
    came = [*keys[:-1], keys[0], {"isbn": "?"}]
    rows = [{**row, **key} for row, key in zip([*ROWS, answered(4), answered(8)], came, strict=True)]
    answers = {**asked, "response": "JSON", "status": "STRING"}
    output = fill(gemini_batch_stack, f"{dataset}.answers", answers, rows)
    storage = BigQueryStorage(bigquery_client(gemini_batch_stack))
    with Recorder() as recorder:
        summary = storage.summarize(BigQueryAddress.parse(output), [BigQueryAddress.parse(requests)])
        usage = summary.count_usage()
    assert (len(recorder.jobs), recorder.total("scans")) == (1, {"requests": 1, "answers": 1})
    assert (summary.tally.rows, summary.tally.duplicates, summary.tally.unknown) == (len(keys), 1, 1)
    assert usage == merge_usage(USAGE, {"gemini-2.5-flash": Usage(2, 12, 20)})


def test_account_tells_the_tokens_of_rows_that_were_repeated_or_not_asked_for(
    gemini_batch_stack, in_files, bucket
):
    asked = {"request": {"contents": [{"parts": [{"text": "a"}]}]}}
    other = {"request": {"contents": [{"parts": [{"text": "b"}]}]}}
    upload(gemini_batch_stack, bucket, "in.jsonl", [asked])
    storage = in_files([{**asked, **answered(1)}, {**asked, **answered(2)}, {**other, **answered(4)}])
    summary = storage.summarize(GcsAddress(bucket, "out"), [GcsAddress(bucket, "in.jsonl")])
    assert (summary.tally.rows, summary.tally.duplicates, summary.tally.unknown) == (1, 1, 1)
    assert summary.count_usage() == {"gemini-2.5-flash": Usage(3, 7, 30)}


def test_no_output_took_no_tokens(gemini_batch_stack, bucket):
    absent = BigQueryAddress.parse(f"{make_dataset(gemini_batch_stack)}.absent")
    assert BigQueryStorage(bigquery_client(gemini_batch_stack)).usage(absent) == {}
    assert CloudStorage(storage_client(gemini_batch_stack)).usage(GcsAddress(bucket, "absent")) == {}
