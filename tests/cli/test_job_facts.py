"""What is told of a job, and what is not known of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_gemini_batch.cli.job_facts import (
    facts_of,
    queued_seconds,
    rows_text,
    run_seconds,
    share_done,
    task_text,
)
from airflow_gemini_batch.cli.job_filter import JobFilter, parse_age, parse_labels
from airflow_gemini_batch.core.labels import airflow_labels, former_airflow_labels
from airflow_gemini_batch.jobs.client import JobQuery
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.vertex.resource import VertexJobName

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def job(state: str = "RUNNING", **fields: Any) -> BatchJob:
    return BatchJob(
        VertexJobName("my-project", "us-central1", "42"), JobState(f"JOB_STATE_{state}"), **fields
    )


@pytest.mark.parametrize(
    ("state", "counts", "text", "share"),
    [
        ("PENDING", (None, None, None), "", None),
        ("RUNNING", (None, None, None), "unknown", None),
        ("SUCCEEDED", (None, None, None), "unknown", None),
        ("RUNNING", (5, None, 15), "5 answered", 0.25),
        ("RUNNING", (1500, 500, None), "1,500 answered, 500 failed", None),
        ("SUCCEEDED", (None, 3, 0), "0 answered, 3 failed", 1.0),
        ("RUNNING", (0, 0, 0), "0 answered", None),
    ],
)
def test_rows_that_are_not_counted_are_unknown(state, counts, text, share):
    answered, failed, incomplete = counts
    one = job(state, successful_count=answered, failed_count=failed, incomplete_count=incomplete)
    assert (rows_text(one), share_done(one)) == (text, share)
    facts = facts_of(one, NOW)
    assert (facts["answered"] is None) is (counts == (None, None, None))


@pytest.mark.parametrize(
    ("state", "hours", "queued", "ran"),
    [
        ("PENDING", (3, None, None), 3, None),
        ("RUNNING", (3, 1, None), 2, 1),
        ("CANCELLING", (3, 1, None), 2, 1),
        ("SUCCEEDED", (9, 8, 6), 1, 2),
        ("EXPIRED", (80, None, 8), 72, None),
        ("SUCCEEDED", (None, 8, 6), None, 2),
        ("FAILED", (9, None, None), None, None),
        # Clocks differ.
        ("PENDING", (-1, None, None), 0, None),
    ],
)
def test_times_are_so_far_or_in_all(state, hours, queued, ran):
    created, started, ended = (None if hour is None else NOW - hour * HOUR for hour in hours)
    one = job(state, create_time=created, start_time=started, end_time=ended)
    found = queued_seconds(one, NOW), run_seconds(one, NOW)
    assert found == tuple(None if hour is None else hour * 3600 for hour in (queued, ran))


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({}, "by hand"),
        (airflow_labels("nightly", "ask", "run"), "nightly.ask"),
        ({**airflow_labels("nightly", "ask", "run"), "airflow_map_index": "3"}, "nightly.ask [3]"),
        (
            {**airflow_labels("nightly", "ask", "run"), "gemini_batch_round": "1"},
            "nightly.ask, follow-up 1",
        ),
        # Of somebody else.
        ({"airflow_dag": "nightly", "gemini_batch_round": "first"}, "nightly"),
    ],
)
def test_job_is_named_by_its_task(labels, text):
    assert task_text(job(labels=labels, display_name="by hand")) == text


@pytest.mark.parametrize(
    ("text", "age"),
    [("30min", HOUR / 2), ("6h", 6 * HOUR), ("7 d", 168 * HOUR), ("2w", 336 * HOUR), ("all", None)],
)
def test_age_is_read(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1y", "1d2h", "999999d", "٣d"])
def test_other_ages_are_refused(text):
    with pytest.raises(ValueError, match="is not a time such as"):
        parse_age(text)


def test_labels_are_read():
    assert parse_labels(["team=search", "empty=", "a=b=c"]) == {"team": "search", "empty": "", "a": "b=c"}


@pytest.mark.parametrize(
    ("wanted", "query"),
    [
        (JobFilter(), JobQuery()),
        (JobFilter(dag="nightly", labels={"a": "b"}), JobQuery(labels={"a": "b", "airflow_dag": "nightly"})),
        # Jobs of earlier releases have another label.
        (JobFilter(dag="Nightly"), JobQuery()),
        (JobFilter(states=frozenset({"unfinished"})), JobQuery(unfinished=True)),
        (JobFilter(states=frozenset({"unfinished", "failed"})), JobQuery()),
        (JobFilter(newer=2 * HOUR), JobQuery(created=(NOW - 2 * HOUR, NOW + HOUR))),
    ],
)
def test_service_is_asked_for_no_less_than_what_is_wanted(wanted, query):
    assert wanted.query(NOW) == query


@pytest.mark.parametrize(
    ("wanted", "fields", "kept"),
    [
        (JobFilter(dag="Nightly"), {"labels": airflow_labels("Nightly", None, None)}, True),
        (JobFilter(dag="Nightly"), {"labels": former_airflow_labels("Nightly", None, None)}, True),
        (JobFilter(dag="Nightly"), {"labels": airflow_labels("nightly_too", None, None)}, False),
        (JobFilter(dag="nightly"), {}, False),
        (JobFilter(labels={"a": "b"}), {"labels": {"a": "c"}}, False),
        (JobFilter(newer=HOUR), {"create_time": NOW - 2 * HOUR}, False),
        (JobFilter(older=HOUR), {"create_time": NOW - 2 * HOUR}, True),
        (JobFilter(older=3 * HOUR), {"create_time": NOW - 2 * HOUR}, False),
        # What the service does not say hides no job.
        (JobFilter(newer=HOUR, older=HOUR), {}, True),
        (JobFilter(states=frozenset({"unfinished"})), {"state": "CANCELLING"}, True),
        (JobFilter(states=frozenset({"unfinished"})), {"state": "PAUSED"}, False),
        (JobFilter(states=frozenset({"failed", "paused"})), {"state": "PAUSED"}, True),
    ],
)
def test_jobs_are_kept_by_what_they_are(wanted, fields, kept):
    assert wanted.keeps(job(**fields), NOW) is kept
