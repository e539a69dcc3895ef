"""JudgeCanaryOperator and the decision of a person, on tables and on files."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task

from airflow_gemini_batch import Canary, JudgeCanaryOperator
from airflow_gemini_batch.core.columns import QUESTION_COLUMN
from airflow_gemini_batch.operators.canary import MarkCanarySensor, approve_task
from airflow_gemini_batch.testing.dag_runs import run_dag
from airflow_gemini_batch.version_compat import HAS_APPROVALS
from tests.canary.answers import HOSTILE, measured
from tests.operators.stored_canary import OLD, QUESTION, SCHEMA, Stored
from tests.support.dag_runs import serialized
from tests.support.requests_data import storage_client
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat


def judged(
    stored: Stored, canary: Canary, *, question: str | None = QUESTION, **arguments: Any
) -> tuple[Any, TaskInstance]:
    """Run the task; return its result, and the task instance with its XComs."""
    ti = TaskInstance(task_id="judge")
    settings = {"rest_rows": 1000, "response_schema": SCHEMA, **arguments}
    operator = JudgeCanaryOperator(
        task_id="judge", canary=canary, question=question, key="isbn", target=stored.target, **settings
    )
    return run_task(operator, ti), ti


def failing(stored: Stored, canary: Canary, **arguments: Any) -> tuple[str, TaskInstance]:
    """Run the task, which fails; return its message and the task instance."""
    ti = TaskInstance(task_id="judge")
    settings = {"question": QUESTION, "rest_rows": 1000, "response_schema": SCHEMA, **arguments}
    operator = JudgeCanaryOperator(
        task_id="judge", canary=canary, key="isbn", target=stored.target, **settings
    )
    with pytest.raises(AirflowFailException) as raised:
        run_task(operator, ti)
    return flat(raised.value), ti


def test_answers_that_agree_pass(stored):
    stored.answers(0)
    result, ti = judged(stored, Canary(min_agreement=1, max_cost_usd=10))
    assert result == {
        "canary": {
            "question": QUESTION,
            "passed": True,
            "reasons": [],
            "approve": "thresholds",
            "page": None,
        }
    }
    report = ti.xcoms["report"]
    assert report["agreement"]["share"] == 1
    assert report["cost"]["high"] > 0
    assert report["tokens"] == {"prompt": 100, "output": 50, "thoughts": 5}
    assert json.loads(json.dumps(report)) == report
    assert "| genre |" in ti.xcoms["comparison"]
    assert "The canary of 40 rows has passed." in ti.xcoms["summary"]


def test_answers_that_do_not_agree_stop_the_run(stored):
    stored.answers(1, failed=10)
    message, ti = failing(stored, Canary(min_agreement=0.9, max_invalid=0.1, max_cost_usd=0))
    assert message.startswith("The canary of 50 rows has not passed. The agreement is 0.0%")
    assert "20.0% (11.2% to 33.0%) of 50 rows have no usable answer" in message
    assert "more than max_cost_usd=$0.00" in message
    assert f"Target {stored.target}" in message
    # What was found can be read all the same.
    assert ti.xcoms["report"]["agreement"]["share"] == 0
    assert ti.xcoms["comparison"]
    assert ti.xcoms["summary"].startswith("The canary of 50 rows has not passed.")


def test_person_decides_whatever_the_thresholds_say(files):
    files.answers(1)
    result, ti = judged(files, Canary(min_agreement=0.9, approve="person"))
    assert (result["canary"]["passed"], result["canary"]["approve"]) == (False, "person")
    assert len(result["canary"]["reasons"]) == 1
    assert "A person decides" in ti.xcoms["summary"]


@pytest.mark.parametrize("question", [None, "", "None"])
def test_without_a_changed_question_the_run_goes_on(files, question):
    result, ti = judged(files, Canary(min_agreement=1), question=question)
    assert result == {"canary": None}
    assert ti.xcoms == {"comparison": ""}


def test_canary_that_has_no_answers_is_not_passed(stored):
    message, _ = failing(stored, Canary(max_invalid=None))
    assert "No row has an old and a new answer" in message


def test_rest_of_an_unknown_size_is_not_passed(files):
    files.answers(0)
    message, _ = failing(files, Canary(max_cost_usd=1e6), rest_rows=None)
    assert "can't be checked: it is not known how many rows are still to be asked" in message


@pytest.mark.parametrize("rest_rows", ["many", -1])
def test_wrong_number_of_rows_is_named(files, rest_rows):
    message, _ = failing(files, Canary(), rest_rows=rest_rows)
    assert f"rest_rows: expected a number of rows, got {rest_rows!r}" in message


def test_golden_rows_decide(files, tmp_path):
    files.answers(0)
    golden = tmp_path / "golden.csv"
    golden.write_text("isbn,genre\n978-1,nonsense\n978-2,nonsense\nnot asked,x\n")
    canary = Canary(golden=str(golden), min_golden_accuracy=0.5)
    message, ti = failing(files, canary)
    assert "The golden accuracy is 0.0%" in message
    assert (ti.xcoms["report"]["golden"]["rows"], ti.xcoms["report"]["golden"]["accuracy"]["of"]) == (3, 2)
    # Golden rows say nothing of the others.
    assert ti.xcoms["report"]["compared"] == 38


def test_page_is_written_beside_the_requests(gemini_batch_stack, files, bucket):
    files.answers(0.2)
    folder = f"gs://{bucket}/requests/{datetime.now(UTC):%s}"
    result, ti = judged(files, Canary(), report_folder=folder)
    address = result["canary"]["page"]
    assert address == f"{folder}/canary-{QUESTION}.html"
    name = address.removeprefix(f"gs://{bucket}/")
    text = storage_client(gemini_batch_stack).bucket(bucket).blob(name).download_as_text()
    assert text.startswith("<!doctype html>")
    assert address.rpartition("/")[2].replace("-", "\\-") in ti.xcoms["comparison"]


def test_canary_of_vectors(files):
    rows = [{"isbn": f"{n}", "embedding": [1.0, n / 100], "batch_prompt_tokens": 9} for n in range(4)]
    for suffix, question in (("", OLD), ("__canary", QUESTION)):
        model = {"batch_model": "gemini-embedding-001", QUESTION_COLUMN: question}
        files.put(suffix, {}, [{**row, **model} for row in rows])
    result, ti = judged(files, Canary(min_agreement=1, max_cost_usd=1), vector_column="embedding")
    assert result["canary"]["passed"]
    assert ti.xcoms["report"]["fields"][0]["vectors"]["mean"] == pytest.approx(1)


def test_hostile_answers_reach_log_and_xcoms_as_texts(files, logged):
    rows = [{"isbn": f"{HOSTILE}{n}", "answer": f"{HOSTILE}{n}", **measured()} for n in range(4)]
    files.put("", {}, [{**row, QUESTION_COLUMN: OLD} for row in rows])
    files.put("__canary", {}, [{**row, "answer": HOSTILE, QUESTION_COLUMN: QUESTION} for row in rows])
    _, ti = judged(files, Canary(), response_schema=None)
    for text in (logged(), ti.xcoms["comparison"], ti.xcoms["summary"]):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<" not in ti.xcoms["comparison"]
    assert HOSTILE[:20] not in ti.xcoms["summary"]


def dag_of(verdict: Any, **arguments: Any) -> DAG:
    """Make a DAG in which something follows a decision."""
    with DAG("decision", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        judge = JudgeCanaryOperator(
            task_id="judge",
            canary=Canary(approve="person"),
            question=verdict,
            key="isbn",
            target="books.jsonl",
        )

        @task
        def ask_the_rest() -> str:
            return "asked"

        approve_task(judge, **arguments) >> ask_the_rest()
    return dag


def test_run_without_a_canary_needs_no_person(gemini_batch_stack):
    run = run_dag(dag_of(None))
    assert run.state == "success"
    assert run.states == {"judge": ["success"], "approve_canary": ["success"], "ask_the_rest": ["success"]}


def test_decision_follows_the_judgement_and_can_be_serialized():
    dag = dag_of("q", task_id="decide", trigger_rule="none_failed")
    assert dag.get_task("decide").upstream_task_ids == {"judge"}
    assert dag.get_task("decide").trigger_rule == "none_failed"
    assert serialized(dag)
    assert dag.get_task("judge").trigger_rule == "none_failed"


VERDICT = {"canary": {"question": "q", "passed": True}}


@pytest.mark.skipif(not HAS_APPROVALS, reason="needs Airflow 3.1")
class TestApproval:
    def approval(self, timeout: timedelta = timedelta(days=1)) -> Any:
        dag = dag_of("q", timeout=timeout)
        decide = dag.get_task("approve_canary")
        # As Airflow renders them.
        decide.verdict, decide.body = VERDICT, "**the comparison**"
        return decide

    def test_person_is_asked_with_the_comparison(self):
        decide, ti = self.approval(), mock.Mock(id="ti")
        asked: dict[str, Any] = {}
        hitl = "airflow.providers.standard.operators.hitl"
        with (
            mock.patch(f"{hitl}.upsert_hitl_detail", lambda **given: asked.update(given)),
            pytest.raises(BaseException) as paused,  # noqa: PT011 - the name depends on the release
        ):
            decide.execute({"task_instance": ti, "ti": ti})
        assert type(paused.value).__name__ in ("TaskAwaitingInput", "TaskDeferred")
        assert (asked["body"], asked["options"]) == ("**the comparison**", ["Approve", "Reject"])
        assert asked["subject"] == "Ask the other rows of books.jsonl the new question?"

    @pytest.mark.parametrize(("answer", "skipped"), [("Approve", []), ("Reject", ["ask_the_rest"])])
    def test_answer_decides_about_what_follows(self, answer, skipped):
        decide, left_out = self.approval(), []
        event = {
            "chosen_options": [answer],
            "params_input": {},
            "responded_at": datetime.now(UTC),
            "responded_by_user": {"id": "1", "name": "Ada"},
        }
        with mock.patch.object(
            type(decide), "skip", lambda _self, ti, tasks: left_out.extend(one.task_id for one in tasks)
        ):
            result = decide.execute_complete({"ti": mock.Mock(), "task": decide}, event)
        assert left_out == skipped
        assert result["responded_by_user"]["name"] == "Ada"


def marking(**arguments: Any) -> MarkCanarySensor:
    return MarkCanarySensor(**{"task_id": "decide", **arguments})


def test_before_3_1_a_task_waits_to_be_marked(logged):
    stopped = {"passed": False, "reasons": ["the agreement is 1%"], "page": "gs://b/canary.html"}
    for verdict, words in ((VERDICT["canary"], "All thresholds are met."), (stopped, "the agreement is 1%")):
        assert marking(verdict={"canary": verdict}).poke({}) is False
        text = flat(logged())
        assert words in text
        assert "Mark this task as success to go on, or as failed to stop" in text
    assert "and so does gs://b/canary.html" in text
    assert marking(verdict={"canary": None}).poke({}) is True
    assert marking(verdict=VERDICT).mode == "reschedule"


@pytest.mark.parametrize("verdict", [None, "{'canary': None}", {}, {"canary": "x"}])
def test_verdict_that_is_missing_is_not_taken_for_a_pass(verdict):
    with pytest.raises(AirflowFailException, match="verdict: expected the result of JudgeCanaryOperator"):
        marking(verdict=verdict).poke({})
