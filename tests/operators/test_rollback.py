"""RollbackOperator: a task that takes back the answers to a question, after tasks that have landed them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import RollbackOperator
from tests.operators.steps import BOOKS, book, built, landed, submitted
from tests.operators.test_land import content
from tests.support.tables import fill, make_dataset
from tests.support.tasks import TaskInstance, run_task

ROWS = [book(number) for number in range(3)]


@pytest.mark.parametrize("kind", ["table", "file"])
def test_a_task_takes_the_answers_to_a_changed_prompt_back(gemini_batch_stack, bucket, tmp_path, kind):
    dataset = make_dataset(gemini_batch_stack)
    source, target = fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS), f"{dataset}.landed"
    build = {}
    if kind == "file":
        source, target = ROWS, str(tmp_path / "landed.parquet")
        build = {"destination": f"gs://{bucket}/requests"}

    def night(prompt: str) -> None:
        ti = TaskInstance(task_id="build")
        requests = built(source, ti, prompt=prompt, **build)
        manifests = submitted(requests, prompt, question=ti.xcoms["question"])
        landed(manifests, target, keep_previous=timedelta(days=30))

    night("Describe [[ title ]].")
    before = content(gemini_batch_stack, target)
    night("Sell [[ title ]].")
    after = content(gemini_batch_stack, target)
    assert {row["batch_question"] for row in after.values()}.isdisjoint(
        row["batch_question"] for row in before.values()
    )
    ti = TaskInstance(task_id="back")
    result = run_task(RollbackOperator(task_id="back", target=target, key="isbn"), ti)
    assert (result["restored"], result["kept"]) == (3, 0)
    assert content(gemini_batch_stack, target) == before
    assert "3 rows came back" in ti.xcoms["summary"]
    undone = run_task(RollbackOperator(task_id="forth", target=target, key="isbn", undo=True))
    assert undone["restored"] == 3
    assert content(gemini_batch_stack, target) == after


def test_without_a_copy_the_task_fails_for_good(tmp_path):
    with pytest.raises(AirflowFailException, match="has no copy before the answers of any question"):
        run_task(RollbackOperator(task_id="back", target=str(tmp_path / "books.jsonl"), key="isbn"))
