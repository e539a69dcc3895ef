"""LandCanaryOperator, on tables and on files."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_gemini_batch import LandCanaryOperator
from airflow_gemini_batch.core.columns import QUESTION_COLUMN
from airflow_gemini_batch.operators.links import TargetLink
from tests.operators.stored_canary import OLD, QUESTION, SCHEMA, TYPES, Stored
from tests.support.dag_runs import serialized
from tests.support.tables import read
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat


def landing(stored: Stored, **arguments: Any) -> LandCanaryOperator:
    settings = {"question": QUESTION, "response_schema": SCHEMA, "key": "isbn", **arguments}
    return LandCanaryOperator(task_id="land_canary", target=stored.target, **settings)


def landed(stored: Stored, **arguments: Any) -> tuple[Any, TaskInstance]:
    """Run the task; return its result, and the task instance with its XComs."""
    ti = TaskInstance(task_id="land_canary")
    return run_task(landing(stored, **arguments), ti), ti


def test_answers_of_a_canary_land_and_are_told(stored):
    stored.answers(0.5)
    for _ in range(2):
        result, ti = landed(stored)
        assert result == {"target": stored.target, "landed": 40}
        summary = flat(ti.xcoms["summary"])
        assert summary.startswith("40 answers of the canary landed.")
        assert f"Target {stored.target}" in summary
        assert "The next build leaves these rows out" in summary
    assert (TargetLink.key in ti.xcoms) is (stored.kind == "table")
    if stored.kind == "table":
        rows, canary = (
            {row["isbn"]: row for row in read(stored.stack, stored.target + one)} for one in ("", "__canary")
        )
        assert rows == canary


def test_canary_of_another_place(files):
    files.answers(0)
    (files.folder / "books__canary.jsonl").rename(files.folder / "tried.jsonl")
    result, ti = landed(files, canary_target=str(files.folder / "tried.jsonl"))
    assert result["landed"] == 40
    assert "tried.jsonl" in ti.xcoms["summary"]


@pytest.mark.parametrize("question", [None, "", "None"])
def test_without_a_changed_question_the_run_goes_on(files, logged, question):
    files.answers(0)
    before = (files.folder / "books.jsonl").read_bytes()
    result, ti = landed(files, question=question)
    assert result == {"target": files.target, "landed": 0}
    assert "No question has changed" in logged()
    assert ti.xcoms == {}
    assert (files.folder / "books.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": "title"}, "has no column 'title', which the key names"),
        ({"key": ""}, "key: expected a column name"),
        ({"response_schema": None}, "the column 'answer' is missing there Give response_schema"),
        ({"response_schema": None, "text_column": "isbn"}, "the target would have two columns 'isbn'"),
        ({"keep_previous": 30}, "keep_previous: expected how long"),
        ({"canary_target": "bq://my-shop.d.canary"}, "name three tables or three files"),
    ],
)
def test_wrong_parameters_fail_without_a_retry(files, arguments, message):
    files.answers(0)
    with pytest.raises(AirflowFailException) as raised:
        landed(files, **arguments)
    assert message in flat(raised.value)


def test_canary_without_bookkeeping_is_refused(stored):
    types = {name: kind for name, kind in TYPES.items() if name != QUESTION_COLUMN}
    stored.put("__canary", types, [{"isbn": "1", "genre": "crime", "pages": 1}])
    with pytest.raises(AirflowFailException, match="landed without bookkeeping"):
        landed(stored)


def test_canary_of_vectors(files):
    for suffix, question, value in (("", OLD, 0.0), ("__canary", QUESTION, 1.5)):
        files.put(
            suffix,
            {},
            [
                {
                    "isbn": "1",
                    "embedding": [value, 1.0],
                    "dimensions": 2,
                    "token_count": 1,
                    "truncated": False,
                    QUESTION_COLUMN: question,
                }
            ],
        )
    result, _ = landed(files, vector_column="embedding")
    assert result["landed"] == 1
    assert '"embedding":[1.5,1.0]' in (files.folder / "books.jsonl").read_text()


def test_previous_answers_are_kept(files):
    files.answers(1)
    before = (files.folder / "books.jsonl").read_bytes()
    landed(files, keep_previous=timedelta(days=1))
    assert (files.folder / "books.jsonl").read_bytes() != before
    assert (files.folder / f"books__before_{QUESTION[:8]}.jsonl").read_bytes() == before


def test_task_can_be_serialized():
    with DAG("landing", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        LandCanaryOperator(task_id="land_canary", question="{{ params.q }}", key="isbn", target="books.jsonl")
    assert serialized(dag)
    assert dag.get_task("land_canary").trigger_rule == "none_failed"
