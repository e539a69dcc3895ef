"""What a build knows of earlier questions, and of canaries that have passed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_gemini_batch.ledger.addresses import ledger_of
from airflow_gemini_batch.ledger.earlier import MOST_QUESTIONS, EarlierRuns
from airflow_gemini_batch.requests.questions import Question
from tests.ledger.runs import HOUR, NOW, TARGET, record
from tests.requests.plans import plan

QUESTIONS = [plan(f"Describe [[ title ]] in {number} words.").question for number in range(12)]


@pytest.fixture
def ledger(tmp_path):
    return ledger_of(str(tmp_path / "runs"), lambda: None, lambda: None)  # type: ignore[arg-type, return-value]


def asked(number: int, question: Question, **more: Any) -> Any:
    run = record(number, started=NOW + number * HOUR, target=more.pop("target", TARGET))
    return replace(run, **{"question": question.id, "definition": question.to_json(), **more})


def test_questions_that_were_asked_last_are_known(ledger) -> None:
    assert EarlierRuns(ledger, TARGET).questions() == {}
    for number, question in enumerate(QUESTIONS):
        ledger.put(asked(number, question))
    ledger.put(asked(20, QUESTIONS[1]))
    ledger.put(asked(21, plan("Another").question, target="bq://my-project.shop.others"))
    known = EarlierRuns(ledger, TARGET).questions()
    assert list(known.values()) == [*QUESTIONS[-MOST_QUESTIONS + 1 :], QUESTIONS[1]]
    assert list(known) == [question.id for question in known.values()]


def test_question_that_can_t_be_read_is_not_known(ledger) -> None:
    ledger.put(asked(1, QUESTIONS[1]))
    ledger.put(asked(2, QUESTIONS[2], definition={"of": "a later release"}))
    ledger.put(replace(record(3), definition=None))
    assert list(EarlierRuns(ledger, TARGET).questions().values()) == [QUESTIONS[1]]


def test_canary_passes_for_one_target(ledger) -> None:
    first, second = QUESTIONS[:2]
    ledger.put(asked(1, first, verdict={"passed": True}))
    ledger.put(asked(2, second, verdict={"passed": False}))
    runs = EarlierRuns(ledger, TARGET)
    assert [runs.has_passed(question.id) for question in (first, second)] == [True, False]
    assert not EarlierRuns(ledger, "bq://my-project.shop.others").has_passed(first.id)
