"""The statements that stage answers sort rows as those of files do."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.landing.bigquery.inputs import AnswerTable, RequestTable
from airflow_gemini_batch.landing.bigquery.merge_sql import Merge
from airflow_gemini_batch.landing.bigquery.staging_sql import staging_statement
from airflow_gemini_batch.outputs.classify import Outcome
from airflow_gemini_batch.outputs.classify_sql import SAMPLE_LENGTH
from tests.landing.landings import DAY, Landing, plan_of
from tests.outputs.lines import sort_rows
from tests.outputs.row_shapes import SHAPES, cells

TABLE = BigQueryAddress("demo-project", "books", "t")
PLAN = plan_of({"genre": str})


@pytest.mark.parametrize("response", ["JSON", "STRING"])
def test_rows_have_the_outcome_and_the_reason_that_lines_have(gemini_batch_stack, tmp_path, response):
    landing = Landing(gemini_batch_stack, response=response)
    source = landing.requests(*(shape.name for shape in SHAPES))
    rows = [
        (shape.name, {"status": shape.status, "processed_time": DAY, **cells(shape, response)})
        for shape in SHAPES
    ]
    report = landing.run(plan_of(), landing.manifest(source, landing.output(*rows, error=response)))
    lines = sort_rows(tmp_path, [{"status": shape.status, **cells(shape, response)} for shape in SHAPES])
    failed = {
        shape.name: (one.outcome, one.code, one.message[:SAMPLE_LENGTH])
        for shape, one in zip(SHAPES, lines, strict=True)
        if one.message
    }
    assert landing.landed("answer", "batch_finish_reason") == {
        shape.name: (shape.text, "STOP") for shape in SHAPES if shape.outcome is Outcome.OK
    }
    assert landing.failures("outcome", "code", "message") == failed
    assert sum(report.counts.values()) == len(SHAPES)


def test_error_column_of_a_source_says_nothing_of_its_answers(gemini_batch_stack):
    landing = Landing(gemini_batch_stack, key={"isbn": "STRING", "error": "STRING"})
    key = ("978-1", '{"code": 400, "message": "of a log"}')
    report = landing.land(plan_of(key=("isbn", "error")), (key, {"status": "", "response": {}}))
    assert report.counts[Outcome.MISSING] == 1


def test_values_travel_beside_the_statement():
    plan = plan_of({"type": "object", "properties": {"genre": {"enum": ['it\'s a "novel"']}}})
    requests = RequestTable(TABLE, {"isbn": "STRING"}, "2026-11-22T08:00:00+00:00", "jobs/'1'", 0, "s")
    answers = AnswerTable(TABLE, {"response": "JSON"}, requests.created, "jobs/'0'", 0, "s", "m")
    statement = staging_statement(plan, TABLE, [requests], [answers])
    values = {requests.created, "jobs/'1'", "jobs/'0'", 'it\'s a "novel"'}
    assert values <= set(statement.parameters.values())
    assert not [value for value in values if value in statement.sql]


def test_answers_and_failures_merge_in_one_transaction():
    sql = Merge(PLAN, {"isbn": "STRING"}, TABLE, TABLE, TABLE).merge_statement().sql
    assert sql.startswith("BEGIN TRANSACTION;\nCREATE TEMP TABLE")
    merging, _, counting = sql.partition(";\nCOMMIT TRANSACTION;\n")
    # Answers that change, answers that are added, and failures.
    assert (merging.count("MERGE INTO"), counting.count("MERGE INTO")) == (3, 0)
