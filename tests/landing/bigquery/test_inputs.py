"""Requests and answers that are not as they have to be."""

from __future__ import annotations

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError, OutputNotReadyError, SourceNotReadyError
from airflow_gemini_batch.outputs.classify import Outcome
from tests.landing.landings import (
    JOB,
    TEXT,
    good,
    plan_of,
)


def test_key_that_occurs_twice_is_named(landing):
    source = landing.requests("978-1", "978-2", "978-1")
    with pytest.raises(InvalidRequestError, match="1 keys occur more than once: 978-1"):
        landing.run(TEXT, landing.manifest(source, landing.output(("978-1", good("A")))))
    assert "books" not in landing.table_names()


def test_key_that_occurs_in_two_shards_is_named(landing):
    manifests = [landing.manifest(landing.requests("978-1"), landing.output()) for _ in range(2)]
    with pytest.raises(InvalidRequestError, match="1 keys occur more than once: 978-1"):
        landing.run(TEXT, *manifests)


def test_key_that_is_null_is_told(landing):
    manifest = landing.manifest(landing.requests(None, "978-1"), landing.output())
    with pytest.raises(InvalidRequestError, match="1 keys hold NULL"):
        landing.run(TEXT, manifest)


def test_key_that_the_requests_do_not_have_is_told(landing):
    manifest = landing.manifest(landing.requests("978-1"), landing.output())
    with pytest.raises(InvalidRequestError, match="has no column 'ean'; its columns are isbn, request"):
        landing.run(plan_of(key=["ean"]), manifest)


def test_key_that_came_back_with_another_type_is_matched_with_no_row(landing):
    manifest = landing.manifest(landing.requests("000000", "0"), landing.output((0, good("A")), isbn="INT64"))
    with pytest.raises(
        InvalidRequestError, match=r"sent as STRING and came back as INT64 in .*CONCAT\('key-'"
    ):
        landing.run(TEXT, manifest)
    assert "books" not in landing.table_names()


def test_requests_of_others_have_no_fingerprint(landing):
    source = landing.requests("978-1", fingerprint=None)
    landing.run(TEXT, landing.manifest(source, landing.output(("978-1", good("A")))))
    assert landing.landed("batch_fingerprint") == {"978-1": None}


def test_failed_round_without_output_counts_as_no_answers(landing):
    source = landing.requests("978-1", "978-2")
    gone = f"{landing.dataset}.never_written"
    rounds = landing.manifest(source, gone, "", state="JOB_STATE_FAILED")
    assert landing.run(TEXT, rounds).counts[Outcome.MISSING] == 2
    assert landing.failures("round", "job") == dict.fromkeys(("978-1", "978-2"), (1, f"{JOB}/11"))
    before = landing.failures()
    landing.run(TEXT, rounds)
    assert landing.failures() == before


def test_lost_output_of_a_round_that_succeeded_is_an_error(landing):
    manifest = landing.manifest(landing.requests("978-1"), f"{landing.dataset}.dropped")
    with pytest.raises(OutputNotReadyError, match=rf"{JOB}/10 are gone: there is no table .*\.dropped"):
        landing.run(TEXT, manifest)


def test_lost_requests_are_an_error(landing):
    manifest = landing.manifest(f"{landing.dataset}.dropped", landing.output())
    with pytest.raises(SourceNotReadyError, match=r"the requests .*\.dropped are gone"):
        landing.run(TEXT, manifest)


def test_answers_in_files_are_told_apart_from_those_in_tables(landing):
    with pytest.raises(InvalidRequestError, match=r"gs://bucket/requests\.jsonl is not a table"):
        landing.run(TEXT, landing.manifest("gs://bucket/requests.jsonl", "gs://bucket/answers"))
