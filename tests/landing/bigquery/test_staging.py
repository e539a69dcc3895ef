"""Answers in files land in a table, with the real clients, against the local servers."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re

import pytest
from google.cloud.bigquery import LoadJob

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.landing.bigquery.staging import stage_files
from airflow_gemini_batch.landing.bigquery.targets import column_types
from airflow_gemini_batch.landing.plan import staging_columns
from tests.landing.answer_files import AnswerFiles, line
from tests.landing.landings import DAY, JOB, NASTY, bad, good, plan_of
from tests.support.slow_jobs import slow_jobs
from tests.support.tables import bigquery_client, make_dataset, read

PLAN = plan_of(
    {
        "type": "object",
        "properties": {
            "genre": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "author": {
                "type": "object",
                "properties": {"born": {"type": "integer"}, "name": {"type": "string"}},
            },
        },
    }
)
ANSWER = {"genre": NASTY, "tags": ["b", NASTY], "author": {"born": 1818, "name": NASTY}}


@pytest.fixture
def target(gemini_batch_stack):
    return BigQueryAddress.parse(f"{make_dataset(gemini_batch_stack)}.books")


@pytest.fixture
def manifest(gemini_batch_stack, bucket, tmp_path):
    files = AnswerFiles(gemini_batch_stack, bucket, tmp_path)
    source = files.requests("978-1", "978-2", "978-3", "978-4")
    output = files.output(
        line("978-1", good(json.dumps(ANSWER))), line("978-2", good("{}")), line("978-3", bad())
    )
    return files.client, files.manifest(source, output)


def stage(stack, target, manifest):
    client, one = manifest
    staging = target.with_table("staging")
    stage_files(PLAN, [one], staging, client, bigquery_client(stack), logging.getLogger(__name__))
    return staging


def test_each_request_has_a_row_in_the_staging_table(gemini_batch_stack, target, manifest):
    staging = stage(gemini_batch_stack, target, manifest)
    table = bigquery_client(gemini_batch_stack).get_table(staging.dotted)
    assert column_types(table.schema) == staging_columns(PLAN)
    rows = {row["isbn"]: row for row in read(gemini_batch_stack, str(staging))}
    assert {name: rows["978-1"][name] for name in ANSWER} == ANSWER
    assert rows["978-1"]["batch_processed_time"] == dt.datetime.fromisoformat(DAY)
    assert [rows[f"978-{number}"]["batch_outcome"] for number in (1, 2, 3, 4)] == [
        "ok",
        "ok",
        "rejected",
        "missing",
    ]
    assert (rows["978-3"]["batch_code"], rows["978-3"]["batch_job"]) == (400, f"{JOB}/0")
    assert (rows["978-2"]["genre"], rows["978-2"]["tags"]) == (None, [])


def test_staging_twice_gives_one_table(gemini_batch_stack, target, manifest):
    for _ in range(2):
        staging = stage(gemini_batch_stack, target, manifest)
    assert len(read(gemini_batch_stack, str(staging))) == 4


def test_staged_rows_land_in_the_table(gemini_batch_stack, target, manifest):
    failed = target.with_table("books__failed")
    for _ in range(2):
        landing = TableLanding(bigquery_client(gemini_batch_stack), logging.getLogger(__name__))
        report = landing.land_files(PLAN, [manifest[1]], manifest[0], target, failed)
        assert (report.landed, report.failed) == (2, 2)
        assert sorted(row["isbn"] for row in read(gemini_batch_stack, str(target))) == ["978-1", "978-2"]
        assert sorted(row["outcome"] for row in read(gemini_batch_stack, str(failed))) == [
            "missing",
            "rejected",
        ]


def test_load_job_that_takes_long_is_told(gemini_batch_stack, target, manifest, caplog):
    caplog.set_level(logging.INFO)
    with slow_jobs(LoadJob):
        stage(gemini_batch_stack, target, manifest)
    assert re.search(r"The BigQuery job \S+ is still running after 0 s$", caplog.text, re.MULTILINE)
