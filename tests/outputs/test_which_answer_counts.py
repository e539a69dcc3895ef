"""Which of several answers counts is one rule, in GoogleSQL and in DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.outputs.matching_sql import best_first
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from tests.outputs.answer_cases import CASES, Case
from tests.outputs.lines import match_rows
from tests.outputs.row_shapes import candidate
from tests.support.tables import bigquery_client, fill, make_dataset

# What counts within one job, where no row says when it came.
OF_ONE_JOB = [case for case in CASES if case.rounds == 1 and not case.needs_time]


def ranking() -> str:
    """Return the statement that gives the index of the answer that counts in each case; both engines read it."""
    rows = " UNION ALL ".join(
        f"SELECT '{case.name}' AS name, {index} AS place, '{one.outcome}' AS outcome, {one.round} AS round, "
        f"TIMESTAMP '{one.time:%Y-%m-%d %H:%M:%S}' AS answered"
        for case in CASES
        for index, one in enumerate(case.answers)
    )
    order = best_first("outcome", round_="round", time="answered", ties="place")
    return f"""SELECT name, place FROM ({rows}) WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY name ORDER BY {order}) = 1"""


def test_duckdb_ranks_the_answers() -> None:
    assert dict(duckdb.sql(ranking()).fetchall()) == {case.name: case.counts for case in CASES}


def test_bigquery_ranks_the_answers(gemini_batch_stack) -> None:
    rows = bigquery_client(gemini_batch_stack).query_and_wait(ranking())
    assert {row["name"]: row["place"] for row in rows} == {case.name: case.counts for case in CASES}


CELLS: dict[str, dict[str, Any]] = {
    "ok": {"response": candidate(), "status": ""},
    "retryable": {"response": None, "status": '{"code": 8, "message": "busy"}'},
    "rejected": {"response": None, "status": '{"code": 3, "message": "no role"}'},
}


@pytest.mark.parametrize("case", OF_ONE_JOB, ids=lambda case: case.name)
def test_lines_of_a_job_count_the_best_and_send_the_others_again(tmp_path: Path, case: Case) -> None:
    tally, to_retry = match_rows(tmp_path, "a", [("a", CELLS[one.outcome]) for one in case.answers])
    assert {outcome for outcome, count in tally.counts.items() if count} == {case.best.outcome}
    assert (tally.rows, tally.duplicates) == (1, len(case.answers) - 1)
    assert to_retry == ({"a": 1} if case.best.outcome.retried else {})


def test_statements_of_a_job_count_the_best_and_send_the_others_again(gemini_batch_stack) -> None:
    dataset = make_dataset(gemini_batch_stack)
    columns = {"isbn": "STRING", "request": "STRING"}
    requests = [{"isbn": case.name, "request": case.name} for case in OF_ONE_JOB]
    source = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.requests", columns, requests))
    rows = [{"isbn": case.name, **CELLS[one.outcome]} for case in OF_ONE_JOB for one in case.answers]
    answers = {"isbn": "STRING", "response": "JSON", "status": "STRING"}
    output = BigQueryAddress.parse(fill(gemini_batch_stack, f"{dataset}.answers", answers, rows))
    client = bigquery_client(gemini_batch_stack)
    summary = BigQueryStorage(client).summarize(output, [source])
    expected = [case.best.outcome for case in OF_ONE_JOB]
    counts = {outcome: count for outcome, count in summary.tally.counts.items() if count}
    assert counts == {outcome: expected.count(outcome) for outcome in set(expected)}
    assert summary.tally.duplicates == len(rows) - len(OF_ONE_JOB)
    follow_up = source.with_table("follow_up")
    summary.write_follow_up(follow_up)
    again = {row["isbn"] for row in client.list_rows(follow_up.dotted)}
    assert again == {case.name for case in OF_ONE_JOB if case.best.outcome.retried}
