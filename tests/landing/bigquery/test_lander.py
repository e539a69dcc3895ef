"""Answers from tables land in tables, with the real client, against the local server."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from airflow_gemini_batch import SubmitGeminiBatchOperator
from airflow_gemini_batch.core.response_schema import response_schema_of
from airflow_gemini_batch.jobs.manifest import Manifest
from airflow_gemini_batch.landing.bigquery import lander
from airflow_gemini_batch.outputs.classify import Outcome
from tests.landing.landings import (
    DAY,
    GENRE,
    JOB,
    NASTY,
    TEXT,
    Landing,
    bad,
    genre,
    good,
    later,
    plan_of,
)
from tests.support.requests_data import BAD_REQUEST, request
from tests.support.tables import fill
from tests.support.tasks import run_task


def test_text_lands_in_one_column_with_its_bookkeeping(landing):
    report = landing.land(TEXT, ("978-1", good(NASTY)), ("978-2", good("B")))
    assert (report.landed, report.failed) == (2, 0)
    assert landing.landed("answer") == {"978-1": NASTY, "978-2": "B"}
    assert landing.landed()["978-1"][1:] == (
        "gemini-2.5-flash",
        "STOP",
        1090,
        95,
        12,
        7,
        20,
        dt.datetime.fromisoformat(DAY),
        f"{JOB}/20",
        "f1",
        None,
    )
    assert landing.failures() == {}


def test_target_of_an_earlier_release_gets_the_column_that_it_lacks(landing):
    landing.land(TEXT, ("978-1", good("old")))
    landing.run_sql(f"ALTER TABLE {landing.target.sql} DROP COLUMN batch_tool_tokens")
    landing.land(TEXT, ("978-2", good("new")))
    assert landing.landed("answer", "batch_tool_tokens") == {"978-1": ("old", None), "978-2": ("new", 20)}


def test_without_bookkeeping_answers_stand_alone(landing):
    landing.land(plan_of(bookkeeping=False), ("978-1", good("A novel.")))
    assert list(landing.types(landing.target)) == ["isbn", "answer"]
    assert landing.landed() == {"978-1": ("A novel.",)}


@pytest.mark.parametrize("response", ["JSON", "STRING"])
def test_answers_land_in_typed_columns(gemini_batch_stack, response):
    landing = Landing(gemini_batch_stack, response=response)
    author = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    fields = {
        "genre": {"type": "string"},
        "year": {"type": "integer", "nullable": True},
        "rating": {"type": "number"},
        "in_print": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "prints": {"type": "array", "items": {"type": "integer"}},
        "author": author,
        "sequels": {"type": "array", "items": author},
    }
    plan = plan_of({"type": "object", "properties": fields})
    whole = {
        "genre": NASTY,
        "year": 1847,
        "rating": 4.5,
        "in_print": True,
        "tags": ["b", NASTY, "a"],
        "prints": [3, 1, 2],
        "author": {"name": NASTY},
        "sequels": [{"name": "B"}, {"name": "A"}],
    }
    rows = [
        ("978-1", good(json.dumps(whole))),
        ("978-2", good('{"year": null, "author": null, "rating": 4}')),
    ]
    if response == "STRING":
        rows = [(key, {**cells, "response": json.dumps(cells["response"])}) for key, cells in rows]
    assert landing.land(plan, *rows).landed == 2
    assert landing.landed(*whole) == {
        "978-1": tuple(whole.values()),
        "978-2": (None, None, 4.0, None, [], [], None, None),
    }
    types = landing.types(landing.target)
    assert [types[name] for name in whole] == [
        ("STRING", "NULLABLE"),
        ("INTEGER", "NULLABLE"),
        ("FLOAT", "NULLABLE"),
        ("BOOLEAN", "NULLABLE"),
        ("STRING", "REPEATED"),
        ("INTEGER", "REPEATED"),
        ("JSON", "NULLABLE"),
        ("JSON", "NULLABLE"),
    ]


def test_answer_in_a_code_fence_is_read(landing):
    landing.land(GENRE, ("978-1", good('```json\n{"genre": "novel"}\n```')))
    assert landing.landed("genre") == {"978-1": "novel"}


def test_answer_that_does_not_fit_is_invalid_and_lands_among_the_failures(landing):
    report = landing.land(GENRE, ("978-1", good('{"genre": 3}')), ("978-2", good("x" * 900)))
    assert (report.counts[Outcome.INVALID], report.landed) == (2, 0)
    assert landing.landed() == {}
    failures = landing.failures("outcome", "code", "message", "job", "round", "failed_time")
    message = "genre: expected a string, got 3"
    time = dt.datetime.fromisoformat(DAY)
    assert failures["978-1"] == ("invalid", None, message, f"{JOB}/20", 0, time)
    assert failures["978-2"][2] == "the answer is not valid JSON: " + "x" * 100
    assert f"invalid: {message}" in report.samples


def test_failed_rows_tell_why(landing):
    report = landing.land(TEXT, ("978-1", bad()), ("978-2", bad(503, "m" * 900)), ("978-3", good("A")))
    assert (report.landed, report.failed) == (1, 2)
    assert report.counts[Outcome.REJECTED] == report.counts[Outcome.RETRYABLE] == 1
    failures = landing.failures("outcome", "code", "message", "batch_fingerprint")
    assert failures["978-1"] == ("rejected", 400, bad()["status"], "f1")
    assert failures["978-2"][:2] == ("retryable", 503)
    assert len(failures["978-2"][2]) == 300


def test_request_without_an_answer_is_missing(landing):
    source = landing.requests("978-1", "978-2")
    report = landing.run(TEXT, landing.manifest(source, landing.output(("978-2", good("A")))))
    assert (report.landed, report.counts[Outcome.MISSING]) == (1, 1)
    outcome = ("missing", "the output has no row for the request", f"{JOB}/20", 0)
    assert landing.failures("outcome", "message", "job", "round") == {"978-1": outcome}


def test_answers_that_nobody_asked_for_do_not_land(landing):
    source = landing.requests("978-1")
    output = landing.output(("978-1", good("A")), ("978-9", good("Z")))
    assert landing.run(TEXT, landing.manifest(source, output)).landed == 1
    assert landing.landed("answer") == {"978-1": "A"}


def test_of_repeated_rows_the_good_one_lands(landing):
    source = landing.requests("978-1", "978-2")
    output = landing.output(
        ("978-1", bad(503)),
        ("978-1", genre("novel")),
        ("978-1", good("oops")),
        ("978-2", bad(503)),
        ("978-2", bad()),
    )
    report = landing.run(GENRE, landing.manifest(source, output))
    assert (report.landed, report.failed) == (1, 1)
    assert landing.landed("genre") == {"978-1": "novel"}
    assert landing.failures("outcome") == {"978-2": "rejected"}


def test_of_several_rounds_the_latest_counts_unless_an_earlier_one_is_good(landing):
    source = landing.requests("978-1", "978-2", "978-3", "978-4")
    first = landing.output(
        ("978-1", good("first")), ("978-2", bad(503)), ("978-3", bad(503)), ("978-4", good("first"))
    )
    second = landing.output(
        ("978-1", bad(503)), ("978-2", good("second")), ("978-3", bad()), ("978-4", good("second"))
    )
    report = landing.run(TEXT, landing.manifest(source, first, second))
    assert (report.landed, report.counts[Outcome.REJECTED]) == (3, 1)
    assert landing.landed("answer") == {"978-1": "first", "978-2": "second", "978-4": "second"}
    assert landing.failures("outcome", "job", "round") == {"978-3": ("rejected", f"{JOB}/31", 1)}


def test_shards_land_together(landing):
    one, other = landing.requests("978-1"), landing.requests("978-2", fingerprint="f2")
    report = landing.run(
        TEXT,
        landing.manifest(one, landing.output(("978-1", good("A")))),
        landing.manifest(other, landing.output(("978-2", good("B")))),
    )
    assert report.landed == 2
    assert landing.landed("answer", "batch_fingerprint") == {"978-1": ("A", "f1"), "978-2": ("B", "f2")}


def test_time_that_came_as_text_is_read(landing):
    source = landing.requests("978-1")
    output = landing.output(("978-1", good("A")), processed_time="STRING")
    landing.run(TEXT, landing.manifest(source, output))
    assert landing.landed("batch_processed_time") == {"978-1": dt.datetime.fromisoformat(DAY)}


def test_key_of_two_columns_keeps_their_types(gemini_batch_stack):
    landing = Landing(gemini_batch_stack, key={"shop": "STRING", "key_0": "INTEGER"})
    plan = plan_of(key=["shop", "key_0"])
    landing.land(plan, ((NASTY, 1), good("A")), ((NASTY, 2), good("B")), (("", 1), bad()))
    landing.land(plan, ((NASTY, 2), later(good("C"))), (("", 1), later(good("D"))))
    assert landing.landed("answer") == {(NASTY, 1): "A", (NASTY, 2): "C", ("", 1): "D"}
    assert landing.failures() == {}
    assert landing.types(landing.failed)["key_0"][0] == "INTEGER"


@pytest.mark.parametrize("name", ["outcome", "messages", "response", "asked"])
def test_field_may_have_the_name_of_what_is_counted(landing, name):
    report = landing.land(plan_of({name: str}), ("a", good(f'{{"{name}": "B"}}')), ("b", bad()))
    assert (report.landed, report.failed) == (1, 1)
    assert landing.landed(name) == {"a": "B"}


@pytest.mark.parametrize("name", ["outcome_1", "part", "answer_text", "from", "fault", "place"])
def test_key_may_have_any_name(gemini_batch_stack, name):
    landing = Landing(gemini_batch_stack, key={name: "STRING"})
    landing.land(plan_of({"candidate": str}, key=(name,)), ("a", good('{"candidate": "B"}')), ("b", bad()))
    assert (landing.landed("candidate"), landing.failures("outcome")) == ({"a": "B"}, {"b": "rejected"})


def test_no_jobs_land_nothing(landing):
    assert (landing.run(TEXT).landed, landing.table_names()) == (0, set())


@pytest.mark.parametrize("fails", [False, True], ids=["landed", "failed"])
def test_staging_table_is_dropped(landing, fails, monkeypatch):
    if fails:
        monkeypatch.setattr(lander.Merge, "merge_statement", lambda _: None)
        with pytest.raises(AttributeError):
            landing.land(TEXT, ("978-1", good("A")))
    else:
        landing.land(TEXT, ("978-1", good("A")))
    assert not [name for name in landing.table_names() if "landing" in name]


def test_answers_of_a_job_land(landing):
    schema = response_schema_of({"genre": str, "tags": list[str]})
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    requests = [
        {"isbn": f"978-{number}", "request": {**line["request"], "generationConfig": config}}
        for number, line in enumerate([request("book 0"), request("book 1"), BAD_REQUEST])
    ]
    source = fill(
        landing.stack, f"{landing.dataset}.requests", {"isbn": "STRING", "request": "JSON"}, requests
    )
    task = SubmitGeminiBatchOperator(
        task_id="describe",
        model="gemini-2.5-flash",
        requests=source,
        poll_interval=0.05,
        max_failed_fraction=0.5,
    )
    manifest = Manifest.from_json(run_task(task))
    report = landing.run(plan_of({"genre": str, "tags": list[str]}), manifest)
    assert (report.landed, report.counts[Outcome.REJECTED]) == (2, 1)
    rows = landing.landed("genre", "tags", "batch_model", "batch_finish_reason", "batch_job")
    for text, tags, *bookkeeping in rows.values():
        assert isinstance(text, str)
        assert isinstance(tags, list)
        assert bookkeeping == ["gemini-2.5-flash", "STOP", manifest.rounds[0].job_name]
    assert landing.failures("code") == {"978-2": 400}
