"""A sample of what ``python -m tests.googlesql.on_evaluator`` does, and what stands in for MERGE there."""

from __future__ import annotations

import pytest
from google.api_core.exceptions import BadRequest, NotFound

from airflow_gemini_batch.requests.bigquery.expressions import text_of
from tests.googlesql.evaluator import Evaluator
from tests.outputs.answer_cases import CASES
from tests.outputs.test_which_answer_counts import ranking
from tests.requests.value_cases import VALUE_CASES

MERGE = """MERGE INTO `p.d.books` AS target
USING (SELECT * FROM `p.d.news`) AS news
ON target.`isbn` = news.`isbn`
WHEN MATCHED AND news.`text` = 'gone' THEN
  DELETE
WHEN MATCHED AND news.`day` >= target.`day` THEN
  UPDATE SET `text` = CONCAT(news.`text`, ', (', target.`text`), `day` = news.`day`
WHEN NOT MATCHED AND news.`text` != 'gone' THEN
  INSERT (`isbn`, `text`)
  VALUES (news.`isbn`, UPPER(news.`text`))"""


@pytest.fixture
def evaluator() -> Evaluator:
    return Evaluator()


def test_values_are_spelled_as_in_python(evaluator):
    cases = [case for case in VALUE_CASES if case.sql is not None]
    values = ", ".join(f"{case.sql} AS v{n}" for n, case in enumerate(cases))
    selected = ", ".join(f"{text_of(f'v{n}', case.kind)} AS t{n}" for n, case in enumerate(cases))
    (row,) = evaluator.query_and_wait(f"SELECT {selected} FROM (SELECT {values})")
    assert dict(zip(map(str, cases), row.values(), strict=True)) == {str(case): case.text for case in cases}


def test_answers_are_ranked(evaluator):
    rows = evaluator.query_and_wait(ranking())
    assert {row["name"]: row["place"] for row in rows} == {case.name: case.counts for case in CASES}


def test_merge_does_to_each_row_what_its_first_clause_says(evaluator):
    old = "('1', 'a', 1), ('2', 'b', 5), ('3', 'c', 1), ('4', 'd', 1)"
    new = "('1', 'new', 2), ('2', 'late', 4), ('3', 'gone', 0), ('5', 'e', 1), ('6', 'gone', 1)"
    for name, rows in (("books", old), ("news", new)):
        kind = "ARRAY<STRUCT<isbn STRING, text STRING, day INT64>>"
        evaluator.query_and_wait(f"CREATE TABLE `p.d.{name}` AS SELECT * FROM UNNEST({kind}[{rows}])")
    evaluator.query_and_wait(f"BEGIN TRANSACTION;\n{MERGE};\nCOMMIT TRANSACTION;")
    assert sorted(row.values() for row in evaluator.list_rows("p.d.books")) == [
        ("1", "new, (a", 2),
        ("2", "b", 5),
        ("4", "d", 1),
        ("5", "E", None),
    ]


def test_statements_that_it_does_not_take_are_errors(evaluator):
    with pytest.raises(NotFound, match=r"p\.d\.t"):
        evaluator.query_and_wait("SELECT * FROM `p.d.t`")
    for sql in ("SELECT 1 / 0 AS x", "SELECT a AS x", "CREATE VIEW `p.d.v` AS SELECT 1 AS x"):
        with pytest.raises(BadRequest):
            evaluator.query_and_wait(sql)
