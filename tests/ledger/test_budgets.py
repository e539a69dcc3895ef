"""Budgets: what counts in a day or a month, and which run is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.ledger.budgets import Budget, check_budgets, checked_budgets, ledger_since
from airflow_gemini_batch.ledger.record import REFUSED
from airflow_gemini_batch.ledger.runs import with_costs
from tests.ledger.runs import DAY, HOUR, NOW, manifest, record

MONTH_BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def ended(number: int, usd: float | None, time: datetime = NOW, **more):
    made = record(number, more.pop("expected", 5.0), started=more.pop("started", time), **more)
    return with_costs(made, [manifest(f"jobs/{number}", usd, time)], {}, time)


@pytest.mark.parametrize(
    ("records", "spent", "reserved"),
    [
        pytest.param([], 0, 0, id="nothing"),
        pytest.param([record(1, 5.0)], 0, 5, id="under-way"),
        pytest.param([ended(1, 2.0)], 2, 0, id="landed"),
        pytest.param([ended(1, None)], 0, 5, id="cost-unknown"),
        pytest.param([replace(record(1, 5.0), state=REFUSED)], 0, 0, id="refused"),
        pytest.param([record(1, sources=[])], 0, 0, id="nothing-to-ask"),
        pytest.param([record(1, 5.0, started=MONTH_BEGIN)], 0, 5, id="first-moment"),
        pytest.param([record(1, 5.0, started=MONTH_BEGIN - HOUR)], 0, 0, id="month-before"),
        pytest.param([record(1, 5.0, started=NOW + 5 * DAY)], 0, 0, id="month-after"),
        # Built in the last hour of October, asked in the first of November.
        pytest.param([ended(1, 2.0, MONTH_BEGIN, started=MONTH_BEGIN - HOUR)], 2, 0, id="over-midnight"),
        pytest.param([ended(1, 2.0), replace(ended(2, 0), spent=ended(1, 2.0).spent)], 2, 0, id="shared-job"),
        pytest.param([ended(1, 2.0), ended(2, 0.5), record(3, 1.0)], 2.5, 1, id="several"),
        # Of three jobs, two have told.
        pytest.param(
            [with_costs(record(1, 9.0, sources=["a", "b", "c"]), [manifest("1"), manifest("2")], {}, NOW)],
            4,
            3,
            id="job-without-a-result",
        ),
    ],
)
def test_what_counts_in_a_month(records, spent, reserved):
    used = Budget(usd=100).used(records, NOW)
    assert (used.spent, sum(used.reserved.values()), used.unknown) == (spent, pytest.approx(reserved), set())
    assert used.usd == pytest.approx(spent + reserved)


def test_cost_that_nobody_knows_is_not_nothing():
    records = [record(1, None), ended(2, None, expected=None), ended(3, 1.0, expected=None)]
    assert Budget(usd=100).used(records, NOW).unknown == {records[0].run, records[1].run}


@pytest.mark.parametrize(
    ("per", "now", "begin", "end"),
    [
        ("day", NOW, "2026-11-27", "2026-11-28"),
        ("month", NOW, "2026-11-01", "2026-12-01"),
        ("month", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-12-01", "2027-01-01"),
        ("month", datetime(2028, 2, 29, tzinfo=UTC), "2028-02-01", "2028-03-01"),
        # In New York it is still the day before.
        ("day", datetime(2026, 11, 26, 21, tzinfo=timezone(timedelta(hours=-5))), "2026-11-27", "2026-11-28"),
    ],
)
def test_periods_are_days_and_months_in_utc(per, now, begin, end):
    found = Budget(usd=1, per=per).period(now)
    assert found == tuple(datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (begin, end))
    assert ledger_since([Budget(usd=1, per="day"), Budget(usd=1, per=per)], now) == found[0]


TEAM = {"team": "search"}


@pytest.mark.parametrize(
    ("budgets", "others", "mine"),
    [
        pytest.param([], [ended(1, 1000.0)], record(9, 5.0), id="no-budget"),
        pytest.param([Budget(usd=5)], [], record(9, 5.0), id="all-of-it"),
        pytest.param([Budget(usd=0.3)], [ended(1, 0.1), ended(2, 0.1)], record(9, 0.1), id="noise-of-floats"),
        pytest.param([Budget(usd=10)], [record(1, 5.0)], record(9, 5.0), id="beside-one-under-way"),
        pytest.param(
            [Budget(usd=5, labels=TEAM)], [ended(1, 9.0)], record(9, 5.0, labels=TEAM), id="other-team"
        ),
        pytest.param([Budget(usd=5, labels=TEAM)], [], record(9, 50.0), id="budget-of-others"),
        pytest.param([Budget(usd=5, per="day")], [ended(1, 9.0, NOW - DAY)], record(9, 5.0), id="yesterday"),
        pytest.param([Budget(usd=0)], [ended(1, 9.0)], record(9, sources=[]), id="nothing-to-ask"),
        pytest.param([Budget(usd=10)], [record(9, 9.0)], record(9, 5.0), id="earlier-try"),
        # Its two jobs have cost 2 dollars each: nothing is left to reserve when it is cleared.
        pytest.param([Budget(usd=5)], [], ended(9, 4.0, expected=50.0), id="jobs-are-there"),
    ],
)
def test_budgets_let_a_run_pass(budgets, others, mine):
    assert check_budgets(others, budgets, mine, NOW) == []
    assert check_budgets([*others, mine], budgets, mine, NOW) == []


@pytest.mark.parametrize(
    ("budgets", "others", "mine", "told"),
    [
        pytest.param(
            [Budget(usd=100), Budget(usd=4, per="day")],
            [ended(1, 1.0)],
            record(9, 3.5),
            "the budget of $4.00 a day is too small for this run, which may cost $3.50: since 2026-11-27 (UTC) $1.00 "
            "is spent. Nothing was submitted. Ask fewer rows, wait until 2026-11-28, or raise the budget.",
            id="day",
        ),
        pytest.param(
            [Budget(usd=10, labels=TEAM)],
            [ended(1, 1.25, labels=TEAM), record(2, 6.0, labels=TEAM | {"x": "y"}), record(3, 1.0)],
            record(9, 3.5, labels=TEAM),
            "the budget of $10.00 a month for team=search is too small for this run, which may cost $3.50: since "
            "2026-11-01 (UTC) $1.25 is spent, and $6.00 reserved by 1 other run that did not tell their cost yet "
            "(nightly run-2: $6.00). Nothing was submitted. Ask fewer rows, wait until 2026-12-01, or raise the "
            "budget.",
            id="team",
        ),
        pytest.param(
            [Budget(usd=10)],
            [record(number, number) for number in range(1, 6)],
            record(9, 3.5),
            "reserved by 5 other runs that did not tell their cost yet (nightly run-5: $5.00, nightly run-4: $4.00, "
            "nightly run-3: $3.00, …)",
            id="many",
        ),
        pytest.param(
            [Budget(usd=10)],
            [],
            record(9, None),
            "the budget of $10.00 a month can't be checked: there is no batch rate for gemini-3.8-flash; nothing was "
            "submitted. Add its rate to a price file",
            id="unpriced",
        ),
        pytest.param([Budget(usd=0)], [], record(9, 1e-6), "may cost $0.000001", id="no-money"),
        # What the run itself has paid for before it was cleared.
        pytest.param(
            [Budget(usd=10)],
            [],
            replace(record(9, 3.0), spent=ended(1, 8.0).spent),
            "$8.00 is spent",
            id="of-the-run-itself",
        ),
    ],
)
def test_budgets_refuse_a_run(budgets, others, mine, told):
    with pytest.raises(InvalidRequestError) as error:
        check_budgets(others, budgets, mine, NOW)
    assert told in str(error.value)


def test_cost_that_nobody_knows_is_told():
    assert check_budgets([record(1, None)], [Budget(usd=10)], record(9), NOW) == [
        "what is left of the budget of $10.00 a month may be less: the cost of 1 run can't be estimated, since there "
        "is no rate"
    ]
    assert check_budgets([], [Budget(usd=10)], record(9, None), NOW, "allow") == [
        "the budget of $10.00 a month can't be checked: there is no batch rate for gemini-3.8-flash"
    ]


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("100/month", Budget(usd=100.0)),
        (" $2.50/day ", Budget(usd=2.5, per="day")),
        ("5/day:team=search", Budget(usd=5.0, per="day", labels=TEAM)),
        ("5/day:team=search,a=b=c", Budget(usd=5.0, per="day", labels={**TEAM, "a": "b=c"})),
    ],
)
def test_budgets_on_the_command_line(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize(
    "text", ["", "100", "month", "100/year", "-1/day", "1e3/day", "5/day:", "5/day:team", "5/day:=search"]
)
def test_texts_that_are_not_a_budget(text):
    with pytest.raises(ValueError, match="is not a budget such as 100/month or 5/day:team=search"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"usd": -1}, "expected US dollars, 0 or more, got -1"),
        ({"usd": float("nan")}, "expected US dollars, 0 or more, got nan"),
        ({"usd": float("inf")}, "got infinity"),
        ({"usd": "5"}, "expected US dollars, 0 or more, got '5'"),
        ({"usd": True}, "expected US dollars, 0 or more, got True"),
        ({"usd": 5, "per": "year"}, "expected per='day' or per='month', got 'year'"),
        ({"usd": 5, "labels": "team"}, "expected labels such as {'team': 'search'}, got 'team'"),
        ({"usd": 5, "labels": {"team": None}}, "expected labels such as"),
    ],
)
def test_values_that_make_no_budget(arguments, told):
    with pytest.raises(InvalidRequestError) as error:
        Budget(**arguments)
    assert told in str(error.value)


def test_budgets_of_a_task():
    one = Budget(usd=5)
    assert [checked_budgets(given) for given in ([], [one], (one, one), one)] == [
        (),
        (one,),
        (one, one),
        (one,),
    ]
    for given in (None, 5, "100/month", [5], [one, "5/day"], {"usd": 5}):
        with pytest.raises(InvalidRequestError, match=r"budgets: expected a list such as \[Budget\(usd=100"):
            checked_budgets(given)
