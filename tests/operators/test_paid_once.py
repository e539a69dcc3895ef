"""What looks like a reason to pay again, and is none: a flag left on, rows that never succeed, a ceiling half spent."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.operators.submit import SubmitBatchJobOperator
from tests.operators.stage import describe
from tests.operators.steps import group_dag
from tests.support.tasks import TaskInstance, run_task


def creates(vertex: Any) -> int:
    return int(vertex.requests.counts.get("create", 0))


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operators log where ``caplog`` listens."""
    monkeypatch.setattr(SubmitBatchJobOperator, "log", logging.getLogger(__name__), raising=False)


def forced(source: str, try_number: int, max_tries: int) -> str:
    """Run one try of a task with two retries whose ``force_rerun`` was left on; returns its job."""
    ti = TaskInstance(try_number=try_number, max_tries=max_tries)
    name: str = run_task(describe(source, force_rerun=True, retries=2), ti)["rounds"][0]["job_name"]
    return name


def test_forced_rerun_is_paid_once_for_all_tries_and_once_more_for_each_clear(vertex, source):
    vertex.requests.clear()
    plain = run_task(describe(source, retries=2), TaskInstance(max_tries=2))["rounds"][0]["job_name"]
    first = {forced(source, number, max_tries=2) for number in (1, 2, 3)}
    assert (len(first), creates(vertex)) == (1, 2)
    # A user clears the task: Airflow allows it two more retries.
    second = {forced(source, number, max_tries=5) for number in (4, 5)}
    assert (len({plain, *first, *second}), creates(vertex)) == (3, 3)


def test_follow_ups_end_with_the_first_that_mends_nothing(vertex, source, caplog):
    vertex.faults.plan("all_rows_failed", times=None)
    vertex.requests.clear()
    with pytest.raises(AirflowFailException, match="no row has an answer"):
        run_task(describe(source, max_row_retries=25))
    assert creates(vertex) == 2
    assert "the last follow-up job has answered none of its rows" in caplog.text


def test_follow_ups_go_on_while_they_mend_something(vertex, source):
    vertex.faults.plan("partly_succeed", share=0.5, times=3)
    manifest = run_task(describe(source, max_row_retries=25))
    assert manifest["counts"]["ok"] == 10
    assert len(manifest["rounds"]) == 4


@pytest.mark.usefixtures("half_of_rows_missing")
def test_ceiling_covers_the_follow_ups(vertex, source, caplog):
    """Half of the rows are answered, and the others would cost about as much again."""
    settings: dict[str, Any] = {"max_failed_fraction": 1.0}
    spent = run_task(describe(source, max_row_retries=0, **settings))["cost"]["amount"]
    low = run_task(describe(source, max_cost_usd=spent * 1.2, **settings))
    assert len(low["rounds"]) == 1
    assert "5 rows have no answer and are not sent again" in caplog.text
    assert "Raise it and clear the task" in caplog.text
    high = run_task(describe(source, max_cost_usd=spent * 9, **settings))
    assert len(high["rounds"]) == 2
    again = run_task(describe(source, max_cost_usd=spent * 1.2, **settings))
    assert again == high, "the follow-up is paid for already"


@pytest.mark.usefixtures("half_of_rows_missing")
def test_first_job_that_the_build_task_has_estimated_is_not_compared_again(vertex, source, caplog):
    manifest = run_task(
        describe(source, max_cost_usd=0.00001, first_job_is_estimated=True, max_failed_fraction=1.0)
    )
    assert len(manifest["rounds"]) == 1
    assert "5 rows have no answer and are not sent again" in caplog.text


def test_task_group_hands_the_ceiling_to_the_follow_ups():
    dag = group_dag(max_cost_usd=50)
    submit = dag.get_task("books.submit").partial_kwargs
    assert (submit["max_cost_usd"], submit["first_job_is_estimated"]) == (50, True)
    assert dag.get_task("books.build_requests").max_cost_usd == 50


@pytest.mark.usefixtures("half_of_rows_missing")
def test_under_a_ceiling_no_follow_up_is_sent_at_an_unknown_cost(vertex, source, caplog, mocker):
    settings: dict[str, Any] = {"max_failed_fraction": 1.0}
    run_task(describe(source, max_row_retries=0, **settings))
    mocker.patch.object(PriceTable, "rate", return_value=None)
    assert len(run_task(describe(source, max_cost_usd=5, **settings))["rounds"]) == 1
    assert "max_cost_usd=$5.00 cannot be checked" in caplog.text
    assert len(run_task(describe(source, **settings))["rounds"]) == 2
