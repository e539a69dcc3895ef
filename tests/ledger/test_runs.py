"""A run in the ledger, from its reservation to its cost, whatever is retried or cleared in between."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, LedgerError
from airflow_gemini_batch.ledger.budgets import Budget
from airflow_gemini_batch.ledger.record import BUILDING, FAILED, LANDED, REFUSED, run_id_of
from airflow_gemini_batch.ledger.runs import finish, reserve
from airflow_gemini_batch.outputs.classify import Outcome
from tests.ledger.runs import DAY, HOUR, MODEL, NOW, TARGET, estimated, manifest, record, report
from tests.requests.plans import plan

LOG = logging.getLogger("ledger")
OUTCOMES = {Outcome.OK: 90, Outcome.REJECTED: 10}


def used(ledger, per="month", now=NOW):
    found = Budget(usd=100, per=per).used(ledger.records(), now)
    return found.spent, round(sum(found.reserved.values()), 6)


def test_run_reserves_and_then_tells_its_cost(ledger):
    mine = reserve(ledger, record(1, 5.0), [Budget(usd=10)], NOW, LOG)
    assert ledger.records() == [mine]
    assert (mine.state, mine.cost_usd, used(ledger)) == (BUILDING, None, (0, 5))
    landed = finish(ledger, record(1), [manifest(follow_ups=1)], OUTCOMES, NOW + HOUR, LOG)
    assert ledger.records() == [landed]
    assert (landed.state, landed.cost_usd, used(ledger)) == (LANDED, 2.0, (2, 0))
    assert landed.outcomes == {"ok": 90, "rejected": 10}
    assert landed.tokens == {"prompt": 1000, "output": 500}
    assert landed.jobs == ["jobs/1", "jobs/1-1"]
    assert (landed.started, landed.ended, landed.expected_usd) == (NOW, NOW + HOUR, 5.0)


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_retries_and_cleared_tasks_count_once(ledger):
    budgets = [Budget(usd=10)]
    for _ in range(3):  # tries of the build task
        reserve(ledger, record(1, 5.0), budgets, NOW, LOG)
    assert used(ledger) == (0, 5)
    for _ in range(3):  # tries of the land task
        finish(ledger, record(1), [manifest()], OUTCOMES, NOW, LOG)
    assert used(ledger) == (2, 0)
    # All of it is cleared, and finds the jobs that there are.
    reserve(ledger, record(1, 5.0, started=NOW + HOUR), budgets, NOW + HOUR, LOG)
    assert used(ledger) == (2, 0)
    finish(ledger, record(1), [manifest()], OUTCOMES, NOW + HOUR, LOG)
    assert used(ledger) == (2, 0)
    # Cleared once more when rows have changed: other requests, so another job, and the first one stays paid.
    reserve(ledger, record(1, 4.0, sources=["bq://p.d.others"]), budgets, NOW, LOG)
    assert used(ledger) == (2, 4)
    last = finish(ledger, record(1), [manifest("jobs/2", 1.5)], OUTCOMES, NOW, LOG)
    assert used(ledger) == (3.5, 0)
    assert (last.cost_usd, last.jobs) == (3.5, ["jobs/1", "jobs/2"])
    # And when there is nothing left to ask.
    nothing = reserve(ledger, record(1, sources=[]), [Budget(usd=0)], NOW, LOG)
    assert (used(ledger), nothing.cost_usd) == ((3.5, 0), 3.5)
    assert len(ledger.records()) == 1


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_what_a_job_did_not_tell_stays_reserved(ledger):
    reserve(ledger, record(1, 9.0, sources=["a", ["b", "c"], "d"]), [], NOW, LOG)
    failed = finish(ledger, record(1), [manifest("1", 2.0), manifest("2", None)], OUTCOMES, NOW, LOG)
    assert (failed.state, failed.cost_usd) == (FAILED, None)
    assert used(ledger) == (2, 6)
    landed = finish(
        ledger,
        record(1),
        [manifest("1", 2.0), manifest("2", None), manifest("3", 1.0)],
        OUTCOMES,
        NOW,
        LOG,
    )
    assert (landed.state, landed.cost_usd) == (LANDED, None)
    assert used(ledger) == (3, 3)


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_cost_counts_on_the_day_of_the_job(ledger):
    reserve(ledger, record(1, 9.0, started=NOW - DAY), [], NOW, LOG)
    finish(ledger, record(1), [manifest("1", 2.0, NOW - DAY)], OUTCOMES, NOW, LOG)
    finish(ledger, record(2), [manifest("2", 3.0, created=None)], OUTCOMES, NOW, LOG)
    assert [used(ledger, "day", day) for day in (NOW - DAY, NOW)] == [(2, 0), (3, 0)]


@pytest.mark.parametrize("kind", ["folder"], indirect=True)
def test_landing_of_a_run_that_was_not_built_here(ledger):
    landed = finish(ledger, record(1), [manifest("1"), manifest("2", 0.5, unpriced=("other",))], {}, NOW, LOG)
    assert (landed.cost_usd, landed.model, landed.state) == (2.5, MODEL, LANDED)
    assert landed.spent["2"].unpriced == ("other",)


def test_refused_run_reserves_nothing(ledger):
    reserve(ledger, record(1, 7.0), [Budget(usd=10)], NOW, LOG)
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match=r"is too small for this run, which may cost \$5"):
            reserve(ledger, record(2, 5.0), [Budget(usd=10)], NOW, LOG)
        assert {one.run_id: one.state for one in ledger.records()} == {"run-1": BUILDING, "run-2": REFUSED}
        assert used(ledger) == (0, 7)
    assert reserve(ledger, record(2, 5.0), [Budget(usd=12)], NOW, LOG).state == BUILDING
    assert used(ledger) == (0, 12)


def test_of_runs_at_the_same_time_no_more_pass_than_there_is_money_for(place, open_ledger):
    barrier = Barrier(3)

    def run(number):
        own = open_ledger(place)
        own.records()
        barrier.wait()
        try:
            reserve(own, record(number, 4.0), [Budget(usd=10)], NOW, LOG)
        except InvalidRequestError:
            return 0
        return 1

    with ThreadPoolExecutor(3) as pool:
        passed = sum(pool.map(run, (1, 2, 3)))
    assert passed <= 2
    assert used(open_ledger(place)) == (0, passed * 4)


@pytest.fixture
def broken(ledger, write):
    """A ledger with a record that can't be read."""
    write("f" * 32, "[]")
    return ledger


def test_budgets_need_a_ledger_that_can_be_read(broken):
    with pytest.raises(LedgerError, match="The budgets could not be checked, so nothing was submitted"):
        reserve(broken, record(1), [Budget(usd=1000)], NOW, LOG)
    reserve(broken, record(1), [], NOW, LOG)
    assert broken.find(record(1).run) == record(1)


def test_runs_without_budgets_need_no_ledger(open_ledger, caplog):
    ledger = open_ledger("/proc/texts__runs/")
    assert reserve(ledger, record(1), [], NOW, LOG) == record(1)
    assert "The run is not in the ledger: the ledger of runs /proc/texts__runs/ could not be" in caplog.text
    finish(ledger, record(1), [manifest()], OUTCOMES, NOW, LOG)
    assert (
        "What the run has cost is not in the ledger, where it counts with what it has reserved" in caplog.text
    )


def test_record_says_what_is_asked():
    from airflow_gemini_batch.ledger.runs import built, run_record

    question = plan("Describe [[ title ]].").question
    made = built(
        run_record(
            "d", "r", TARGET, f"publishers/google/models/{MODEL}", NOW, kind="canary", labels={"a": "b"}
        ),
        report(["gs://b/1.jsonl"]),
        estimated(3.0),
        question,
    )
    assert (made.model, made.kind, made.labels, made.expected_usd) == (MODEL, "canary", {"a": "b"}, 3.0)
    assert (made.question, made.definition) == (question.id, question.to_json())
    assert made.rows == {"read": 120, "kept": 0, "done": 20}
    assert (made.submissions, made.outstanding) == (1, 1)
    nothing = built(made, report([]), None)
    assert (nothing.expected_usd, nothing.cost_usd, nothing.submissions) == (0, 0, 0)
    with pytest.raises(ValueError, match="kind of a run: expected run or canary, got 'test'"):
        run_record("d", "r", TARGET, MODEL, NOW, kind="test")


def test_each_run_has_its_own_id():
    ids = {
        run_id_of(*arguments)
        for arguments in (
            ("dag", "run", TARGET),
            ("dag", "run2", TARGET),
            ("dagr", "un", TARGET),
            ("dag", "run", f"{TARGET}2"),
            ("dag", "run", TARGET, "canary"),
            ("dag", "run", TARGET, "run", "describe"),
        )
    }
    assert len(ids) == 6
    assert run_id_of("dag", "run", TARGET) == record().run or len(record().run) == 32


def test_verdict_of_a_canary_stays_when_it_is_built_again(ledger):
    verdict = {"passed": False, "by": "thresholds", "agreement": 0.5}
    ledger.put(replace(record(1, kind="canary"), verdict=verdict))
    again = reserve(ledger, record(1, kind="canary"), [], NOW, LOG)
    assert again.verdict == verdict
    assert ledger.find(again.run).verdict == verdict
