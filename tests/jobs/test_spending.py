"""What jobs cost, by the day on which each was created."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.jobs.rounds import EndedRound
from airflow_gemini_batch.jobs.spending import Spending, spent_on
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.summary import OutputSummary
from airflow_gemini_batch.outputs.usage import Usage, UsageByModel
from airflow_gemini_batch.vertex.resource import VertexJobName

ARGON = "publishers/google/models/gemini-4-argon"
USED = Usage(1, 1_000_000, 100_000)  # $1.50 until 30 November 2026, then $3.00
LAST_DAY = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)


def round_of(created: datetime | None, usage: UsageByModel) -> EndedRound:
    job = BatchJob(VertexJobName("my-project", "global", "1"), JobState.SUCCEEDED, create_time=created)
    tally = Tally()
    tally.add(RowResult(Outcome.OK), sum(one.rows for one in usage.values()))
    return EndedRound(job, (), OutputSummary(tally, count_usage=lambda: usage), has_output=True)


def spent(*rounds: EndedRound, model: str = ARGON) -> Spending:
    return spent_on(rounds, model, PriceTable.load, logging.getLogger("spending"))


def amount(*rounds: EndedRound) -> float | None:
    cost = spent(*rounds).cost
    assert cost is not None
    return cost.amount


@pytest.mark.parametrize(
    ("created", "dollars"),
    [
        (datetime(2026, 11, 30, tzinfo=UTC), 1.5),
        (LAST_DAY, 1.5),
        (datetime(2026, 12, 1, tzinfo=UTC), 3),
        (datetime(2027, 4, 1, tzinfo=UTC), 3),
        # The day is UTC's: this is 1 December there.
        (datetime(2026, 11, 30, 20, tzinfo=timezone(timedelta(hours=-8))), 3),
    ],
)
def test_job_has_the_rates_of_the_day_it_was_created(created: datetime, dollars: float) -> None:
    assert amount(round_of(created, {"gemini-4-argon": USED})) == pytest.approx(dollars)


def test_each_round_has_the_rates_of_its_own_day() -> None:
    rounds = [round_of(LAST_DAY + timedelta(days=days), {"gemini-4-argon": USED}) for days in (0, 1)]
    assert amount(*rounds) == pytest.approx(4.5)


def test_row_without_a_model_version_is_the_job_s_model_s() -> None:
    found = spent(round_of(LAST_DAY, {"": USED, "gemini-4-argon": USED}))
    assert found.usage == {"gemini-4-argon": USED + USED}
    assert found.other_models == {}


def test_rows_of_another_model_are_priced_as_that_model_s_and_told(caplog: pytest.LogCaptureFixture) -> None:
    usage = {"gemini-3.5-flash-lite": USED._replace(rows=12), "gemini-2.5-flash-001": USED}
    found = spent(round_of(LAST_DAY, usage), model="publishers/google/models/gemini-2.5-flash")
    assert found.other_models == {"gemini-3.5-flash-lite": 12}
    assert found.cost is not None
    assert found.cost.amount == pytest.approx(0.15 + 0.1 * 1.25 + 0.15 + 0.1 * 1.25)
    [told] = [record for record in caplog.messages if "answered by" in record]
    assert told.startswith("12 rows were answered by gemini-3.5-flash-lite, not by gemini-2.5-flash: ")


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("publishers/google/models/gemini-flash-latest", "gemini-3.8-flash"),
        ("projects/p/locations/us-central1/models/123", "gemini-3.8-flash"),
        ("projects/p/locations/us-central1/endpoints/123", "gemini-3.8-flash"),
        ("publishers/google/models/gemini-3.8-flash@001", "gemini-3.8-flash"),
    ],
)
def test_what_can_t_be_compared_is_no_other_model(model: str, version: str) -> None:
    assert spent(round_of(LAST_DAY, {version: USED}), model=model).other_models == {}


def test_fees_of_searches_are_told_once_as_missing(caplog: pytest.LogCaptureFixture) -> None:
    searched = round_of(LAST_DAY, {"gemini-4-argon": USED._replace(searches=700)})
    spent(searched, searched)
    assert caplog.messages == [
        "The answers took 1,400 searches; the cost leaves out what Google bills for them"
    ]
