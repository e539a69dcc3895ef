"""A changed prompt in DAG runs: what the user has chosen decides which rows are asked again, and paid."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_gemini_batch import Budget, Canary, GeminiEnrichmentTaskGroup, TextEmbeddingTaskGroup
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.testing.dag_runs import DagRun, run_dag
from tests.operators.steps import BOOKS, MODEL, PROMPT, book, creates
from tests.support.tables import fill, make_dataset, read
from tests.task_groups.test_enrichment import parquet_rows, upload_csv

NEW_PROMPT = "Praise the book [[ title ]]."
ROWS = [book(number) for number in range(12)]


class Place:
    """Rows and answers in tables or in files."""

    def __init__(self, kind: str, stack: Any, bucket: str) -> None:
        self._stack = stack
        self._in_tables = kind == "tables"
        if self._in_tables:
            dataset = make_dataset(stack)
            self.source = fill(stack, f"{dataset}.books", BOOKS, ROWS)
            self.target, self.canary = f"{dataset}.landed", f"{dataset}.landed__canary"
        else:
            self.source = upload_csv(stack, bucket, ROWS)
            self.target, self.canary = (f"gs://{bucket}/out/landed{end}.parquet" for end in ("", "__canary"))

    def rows(self, address: str) -> dict[str, dict[str, Any]]:
        found = read(self._stack, address) if self._in_tables else parquet_rows(self._stack, address)
        return {str(row["isbn"]): row for row in found}

    def questions(self) -> list[str]:
        return [row["batch_question"] for row in self.rows(self.target).values()]

    def run(self, prompt: str, **arguments: Any) -> DagRun:
        with DAG("changed", start_date=datetime(2026, 1, 1), schedule=None) as dag:
            GeminiEnrichmentTaskGroup(
                group_id="enrich",
                source=self.source,
                target=self.target,
                key="isbn",
                prompt=prompt,
                model=MODEL,
                response_schema={"description": str},
                preflight=False,
                submit_options={"poll_interval": 0.05},
                **arguments,
            )
        return run_dag(dag, group="enrich")


@pytest.fixture(params=["tables", "files"])
def place(request, gemini_batch_stack, bucket):
    return Place(request.param, gemini_batch_stack, bucket)


def asked(ended: DagRun, task: str = "submit") -> int:
    """Return how many rows the jobs of a task were paid for."""
    return sum(
        manifest["rounds"][0]["counts"]["ok"] for manifest in ended.results.get(task) or () if manifest
    )


def test_canary_decides_about_the_other_rows(gemini_batch_stack, place) -> None:
    first = place.run(PROMPT, canary=Canary(rows=4))
    assert (first.state, asked(first), asked(first, "submit_canary")) == ("success", 12, 0)
    (then,) = set(place.questions())
    before = place.rows(place.target)

    strict = Canary(rows=4, min_agreement=1.0)
    stopped = place.run(NEW_PROMPT, canary=strict)
    assert (stopped.state, asked(stopped, "submit_canary"), asked(stopped)) == ("failed", 4, 0)
    assert stopped.states["judge_canary"] == ["failed"]
    assert place.rows(place.target) == before
    assert len(place.rows(place.canary)) == 4
    paid = creates(gemini_batch_stack)
    again = place.run(NEW_PROMPT, canary=strict)
    assert (again.state, again.states["judge_canary"], creates(gemini_batch_stack)) == (
        "failed",
        ["failed"],
        paid,
    )

    passed = place.run(NEW_PROMPT, canary=Canary(rows=4), max_rows_per_run=5, order_by="isbn DESC")
    assert (passed.state, asked(passed, "submit_canary"), asked(passed)) == ("success", 0, 5)
    assert passed.results["take_canary"][0]["landed"] == 4
    questions = place.questions()
    (now,) = set(questions) - {then}
    assert (questions.count(now), questions.count(then)) == (9, 3)

    last = place.run(NEW_PROMPT, canary=strict, max_rows_per_run=5)
    assert (last.state, asked(last, "submit_canary"), asked(last)) == ("success", 0, 3)
    assert set(place.questions()) == {now}
    assert place.run(NEW_PROMPT, canary=strict).states["submit"] == ["skipped"]
    assert creates(gemini_batch_stack) == paid + 2


def test_rows_that_have_an_answer_keep_it(gemini_batch_stack, place) -> None:
    assert asked(place.run(PROMPT)) == 12
    before = place.rows(place.target)
    ended = place.run(NEW_PROMPT, on_question_change="new_rows")
    assert (ended.state, ended.states["submit"]) == ("success", ["skipped"])
    assert place.rows(place.target) == before
    # Asked for all, and soon afterwards back again: the jobs before have landed, and their answers are gone.
    assert [asked(place.run(prompt)) for prompt in (NEW_PROMPT, PROMPT)] == [12, 12]


def test_changed_question_can_stop_a_run(place) -> None:
    assert asked(place.run(PROMPT)) == 12
    ended = place.run(NEW_PROMPT, on_question_change="fail")
    assert (ended.state, ended.states["build_requests"]) == ("failed", ["failed"])


def test_budget_stops_a_run_before_anything_is_paid(gemini_batch_stack, place) -> None:
    paid = creates(gemini_batch_stack)
    refused = place.run(PROMPT, budgets=[Budget(usd=0.000001, per="day")])
    assert (refused.state, creates(gemini_batch_stack)) == ("failed", paid)
    assert place.run(PROMPT, budgets=[Budget(usd=100.0)], keep_previous=timedelta(days=7)).state == "success"


def embed(place: Place, text: str, **arguments: Any) -> DagRun:
    with DAG("vectors", start_date=datetime(2026, 1, 1), schedule=None) as dag:
        TextEmbeddingTaskGroup(
            group_id="enrich",
            source=place.source,
            target=place.target,
            key="isbn",
            text=text,
            preflight=False,
            submit_options={"poll_interval": 0.05},
            **{"model": "text-embedding-005", **arguments},
        )
    return run_dag(dag, group="enrich")


def test_vectors_of_two_models_are_not_mixed(place) -> None:
    first = embed(place, "[[ title ]]")
    assert (first.state, len(place.rows(place.target))) == ("success", 12)
    before = place.rows(place.target)
    other_model = {"model": "text-multilingual-embedding-002"}
    for choice in ({"on_question_change": "new_rows"}, {"max_rows_per_run": 5}):
        new = {"on_bad_rows": "drop", **choice, **other_model}
        stopped = embed(place, "[[ title ]]", **new)
        kept_all = choice.get("on_question_change") == "new_rows"
        # Nothing is mixed where nothing is asked.
        assert stopped.state == ("success" if kept_all else "failed")
        assert place.rows(place.target) == before

    ended = embed(place, "[[ title ]]", canary=Canary(rows=4, min_agreement=0.0), **other_model)
    assert (ended.state, asked(ended, "submit_canary"), asked(ended)) == ("success", 4, 8)
    assert ended.results["judge_canary"][0]["canary"]["passed"] is True
    assert len(set(place.questions())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_question_change": "canary"}, "give canary=Canary"),
        ({"on_question_change": "some"}, "on_question_change"),
        ({"canary": Canary(), "ledger": False}, "canary needs a ledger"),
        ({"budgets": [Budget(usd=1.0)], "ledger": False}, "budgets need a ledger"),
        ({"order_by": "isbn"}, "order_by needs max_rows_per_run or max_cost_usd_per_run"),
        ({"max_rows_per_run": 0}, "max_rows_per_run has to be 1 or more, got 0"),
        ({"on_question_change": "new_rows", "incremental": False}, "keep incremental=True"),
        ({"canary": Canary(), "target": "{{ params.target }}"}, "has to begin with what it is"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(arguments: dict[str, Any], message: str) -> None:
    needed = {"source": "bq://p.d.books", "target": "bq://p.d.landed", "key": "isbn", "prompt": PROMPT}
    with (
        DAG("refused", start_date=datetime(2026, 1, 1), schedule=None),
        pytest.raises(InvalidRequestError, match=message),
    ):
        GeminiEnrichmentTaskGroup(**{**needed, "model": MODEL, **arguments})
