"""Answers of more jobs than one statement can read land as those of a few jobs do."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import BigQueryAddress
from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.gcp.portions import DEFAULT_LIMITS, StatementLimits
from airflow_gemini_batch.landing.bigquery.collecting import StagingScript, staging_script
from airflow_gemini_batch.landing.bigquery.inputs import AnswerTable, RequestTable
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from airflow_gemini_batch.landing.plan import LandingPlan, LandingReport
from tests.landing.landings import Landing, bad, good, later, plan_of
from tests.landing.vectors import READ, VectorLanding, embedded, refused, vector_plan
from tests.support.tables import bigquery_client

LONG = "a_name_as_people_give_it_" * 8
STAGING = BigQueryAddress("demo-project", LONG, "landing")
CREATED = "2026-11-22T08:00:00+00:00"
PLANS = {"generation": plan_of({"genre": str}), "embeddings": vector_plan()}


def script(
    plan: LandingPlan, jobs: int, rounds: int, limits: StatementLimits = DEFAULT_LIMITS
) -> StagingScript:
    """Return what stages the answers of as many jobs, each with follow-ups."""
    columns = dict.fromkeys(
        (*READ, "isbn", "batch_fingerprint", "predictions", "response", "status"), "STRING"
    )

    def table(kind: str, job: int) -> BigQueryAddress:
        return STAGING.with_table(f"{kind}_{LONG}_{job}")

    requests = [
        RequestTable(
            table("requests", job), columns, f"{CREATED} {job}", f"jobs/{job}", rounds - 1, f"s{job}"
        )
        for job in range(jobs)
    ]
    answers = [
        AnswerTable(
            table(f"answers_{round_}", job), columns, CREATED, f"jobs/{job}/{round_}", round_, f"s{job}", "m"
        )
        for job in range(jobs)
        for round_ in range(rounds)
    ]
    return staging_script(plan, STAGING, requests, answers, limits)


def tables_of(sql: str) -> set[str]:
    return set(re.findall(r"`(demo-project\.\w+\.\w+)`", sql))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize(("jobs", "rounds"), [(400, 2), (1000, 1), (1000, 11)])
def test_every_statement_is_one_that_bigquery_takes(plan, jobs, rounds):
    found = script(plan, jobs, rounds)
    read: set[str] = set()
    for statement in found.statements:
        assert len(tables_of(statement.sql)) <= 1_000
        assert len(statement.sql.encode()) <= 1_000_000
        assert len(statement.parameters) <= 10_000
        assert set(re.findall(r"@(\w+)", statement.sql)) == set(statement.parameters)
        read |= tables_of(statement.sql)
    assert len([name for name in read if f".requests_{LONG}" in name]) == jobs
    assert len([name for name in read if ".answers_" in name and name.count(LONG) == 2]) == jobs * rounds
    assert {table.dotted for table in found.tables} <= tables_of(found.statements[-1].sql)
    assert found.statements[-1].sql.startswith(f"CREATE OR REPLACE TABLE {STAGING.sql} (")


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_few_tables_are_read_by_one_statement(plan):
    assert len(script(plan, 300, 2).statements) == 1
    assert script(plan, 300, 2).tables == ()
    assert len(script(plan, 3, 2, StatementLimits(tables=4)).tables) == 1 + 2


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_tables_of_a_landing_without_any_answer_are_divided_as_well(plan):
    found = script(plan, 3, 0, StatementLimits(tables=2))
    assert [table.table for table in found.tables] == ["landing_requests_0", "landing_requests_1"]


LIMITS = [StatementLimits(), StatementLimits(tables=2)]


def land(landing: Landing, plan: LandingPlan, manifests: Any, limits: StatementLimits) -> LandingReport:
    """Land in a target of its own."""
    landing.tables += 1
    landing.target = landing.target.with_table(f"books_{landing.tables}")
    landing.failed = landing.target.with_table(f"books_{landing.tables}__failed")
    tables = TableLanding(bigquery_client(landing.stack), logging.getLogger(__name__), limits=limits)
    before = landing.table_names()
    report = tables.land(plan, manifests, landing.target, landing.failed)
    assert landing.table_names() - before == {landing.target.table, landing.failed.table}
    return report


def outcome(landing: Landing, report: LandingReport) -> tuple[Any, ...]:
    """Return all that landing has left."""
    return landing.landed(), landing.failures(), dict(report.counts), sorted(report.samples)


def test_answers_that_count_do_not_depend_on_how_tables_are_divided(landing):
    submissions = []
    for job in range(3):
        keys = [f"{job}-{number}" for number in range(5)]
        first = landing.output(
            (keys[0], good("first")),
            (keys[0], later(bad())),
            (keys[1], bad(503, "busy")),
            (keys[2], bad(503, "busy")),
            (keys[3], bad()),
        )
        second = landing.output((keys[1], good("second")), (keys[2], bad(429, "still busy")))
        submissions.append(landing.manifest(landing.requests(*keys), first, second))
    plan = plan_of()
    found = [outcome(landing, land(landing, plan, submissions, limits)) for limits in LIMITS]
    assert len(found[0][0]) == 6
    assert found[1] == found[0]


def test_vectors_that_count_do_not_depend_on_how_tables_are_divided(gemini_batch_stack):
    landing = VectorLanding(gemini_batch_stack)
    submissions = []
    # The usual length is that of all jobs together: most vectors of the last job are shorter.
    for job, length in enumerate((3, 3, 2)):
        texts = {f"{job}-{number}": ("same" if number < 2 else str(number)) for number in range(4)}
        first = landing.vectors(("same", embedded([0.5] * length)), ("2", refused(503)), ("3", refused()))
        second = landing.vectors(("2", embedded([0.25] * 3)))
        submissions.append(landing.submission(landing.texts(texts), first, second, identity=f"s{job}"))
    plan = vector_plan()
    found = [outcome(landing, land(landing, plan, submissions, limits)) for limits in LIMITS]
    assert sorted(found[0][0]) == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2", "2-2"]
    assert found[1] == found[0]


def test_key_that_two_divided_tables_share_is_refused(landing):
    submissions = [
        landing.manifest(landing.requests("978-1", f"978-2-{job}"), landing.output(("978-1", good("A"))))
        for job in range(2)
    ]
    with pytest.raises(InvalidRequestError, match="1 keys occur more than once: 978-1"):
        land(landing, plan_of(), submissions, StatementLimits(tables=1))
