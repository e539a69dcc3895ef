"""How many statements a landing takes, how much of the tables they read, and how many rows they write."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from airflow_gemini_batch.gcp.portions import StatementLimits
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery.lander import TableLanding
from tests.benchmarks.statements import Recorder
from tests.landing.landings import TEXT, Landing, bad, good, later, plan_of
from tests.landing.vectors import VectorLanding, embedded, vector_plan
from tests.support.statements import before_statements
from tests.support.tables import bigquery_client


def submission(landing: Landing, *rows: tuple[Any, Any]) -> Manifest:
    return landing.manifest(landing.requests(*(key for key, _ in rows)), landing.output(*rows))


OLD = (("978-1", good("A")), ("978-2", good("B")), ("978-3", bad()))


@pytest.fixture
def landed(landing):
    """Give a landing whose target has two answers, and a failure beside it."""
    landing.run(TEXT, submission(landing, *OLD))
    return landing


@pytest.mark.parametrize("jobs", [1, 3])
def test_portion_lands_by_one_script_that_adds_the_new_rows(landed, jobs):
    manifests = [
        submission(landed, (f"978-{job}4", good("D")), (f"978-{job}5", good("E"))) for job in range(jobs)
    ]
    with Recorder() as recorder:
        assert landed.run(TEXT, *manifests).landed == 2 * jobs
    assert len(recorder.jobs) == 1
    scans, written = recorder.total("scans"), recorder.total("written")
    read = [scans[name] for name in scans if name.startswith(("requests_", "output_"))]
    assert read == [1] * 2 * jobs
    # Of the target, the keys and the times of what it has: one is added, and none is written again.
    assert scans["books"] == 1
    assert recorder.total("read_bytes")["books"] == 2 * (2 + len("978-1") + 8)
    assert (written["books"], written["books__failed"]) == (2 * jobs, 0)
    assert len(landed.landed()) == 2 + 2 * jobs


def test_first_landing_makes_the_tables_between_the_check_and_the_merge(landing):
    with Recorder() as recorder:
        landing.run(TEXT, submission(landing, *OLD))
    assert [one.kind for one in recorder.ran] == [
        *("CREATE", "SELECT"),
        *("CREATE", "CREATE"),
        *("CREATE", "SELECT", "MERGE", "MERGE", "SELECT"),
    ]
    assert len(recorder.jobs) == 3


def test_row_that_changes_is_written_and_no_other(landing):
    source = landing.requests("978-1", "978-2", "978-3", "978-4")
    follow_ups = [landing.output(("978-3", later(good(text)))) for text in ("C", "C2")]
    first = landing.manifest(source, landing.output(*OLD, ("978-4", bad())), follow_ups[0])
    landing.run(TEXT, first)
    job, follow_up = first.rounds
    with Recorder() as recorder:
        landing.run(TEXT, replace(first, rounds=(job, replace(follow_up, output=follow_ups[1]))))
    assert len(recorder.jobs) == 1
    written = recorder.total("written")
    assert (written["books"], written["books__failed"]) == (1, 0)
    # Keys and times of the target tell that it has to change, and then it is read as a whole.
    assert recorder.total("scans")["books"] == 2
    assert landing.landed("answer") == {"978-1": "A", "978-2": "B", "978-3": "C2"}


def test_landing_twice_writes_no_row(landing):
    manifest = submission(landing, *OLD)
    landing.run(TEXT, manifest)
    with Recorder() as recorder:
        landing.run(TEXT, manifest)
    written = recorder.total("written")
    assert (len(recorder.jobs), written["books"], written["books__failed"]) == (1, 0, 0)


def test_failure_that_is_answered_is_taken_out_without_reading_all_of_the_target(landed):
    with Recorder() as recorder:
        landed.run(TEXT, submission(landed, ("978-3", later(good("C")))))
    assert len(recorder.jobs) == 1
    written = recorder.total("written")
    assert (written["books"], written["books__failed"]) == (1, 1)
    assert recorder.total("read_bytes")["books"] == 2 * (2 + len("978-1") + 8)
    assert landed.failures() == {}


def test_each_portion_of_many_tables_is_read_by_one_statement(landed):
    manifests = [submission(landed, (f"978-{job}4", good("D"))) for job in range(3)]
    tables = TableLanding(
        bigquery_client(landed.stack), logging.getLogger(__name__), limits=StatementLimits(tables=2)
    )
    with Recorder() as recorder:
        tables.land(TEXT, manifests, landed.target, landed.failed)
    # Two of requests and two of answers, and the script that lands them.
    assert len(recorder.jobs) == 2 + 2 + 1
    scans = recorder.total("scans")
    assert [scans[name] for name in scans if name.startswith(("requests_", "output_"))] == [1] * 6


def test_vectors_land_by_one_script(gemini_batch_stack):
    landing, plan = VectorLanding(gemini_batch_stack), vector_plan(dimensions=2)
    for job in range(2):
        manifest = landing.submission(
            landing.texts({f"{job}": f"text {job}"}),
            landing.vectors((f"text {job}", embedded([0.6, 0.8, 0.5]))),
        )
        with Recorder() as recorder:
            landing.run(plan, manifest)
    assert len(recorder.jobs) == 1
    assert recorder.total("written")[landing.target.table] == 1


@pytest.mark.parametrize("layout", ["PARTITION BY day", "CLUSTER BY day, isbn"])
def test_of_a_target_in_parts_only_those_are_read_that_can_hold_the_keys(gemini_batch_stack, layout):
    landing = Landing(gemini_batch_stack, key={"isbn": "STRING", "day": "DATE"})
    plan = plan_of(key=("isbn", "day"))
    landing.run_sql(f"CREATE TABLE {landing.target.sql} (isbn STRING, day DATE, answer STRING) {layout}")
    landing.land(plan, (("978-1", "2026-11-22"), good("A")), (("978-1", "2026-11-23"), good("B")))
    sent: list[str] = []
    with before_statements(lambda _, sql: sent.append(sql)):
        landing.land(plan, (("978-1", "2026-11-23"), later(good("B2"))), (("978-1", "2026-11-25"), good("C")))
    assert len(sent) == 2
    within = "gemini_batch_target.`day` BETWEEN CAST(@p0 AS DATE) AND CAST(@p1 AS DATE)"
    assert [sql.count(within) for sql in sent] == [0, 2]
    answers = {(key, str(day)): answer for (key, day), answer in landing.landed("answer").items()}
    assert answers == {
        ("978-1", "2026-11-22"): "A",
        ("978-1", "2026-11-23"): "B2",
        ("978-1", "2026-11-25"): "C",
    }
