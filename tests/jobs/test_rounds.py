from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.jobs.identity import RoundId
from airflow_gemini_batch.jobs.rounds import EndedRound, merged
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.summary import OutputSummary
from airflow_gemini_batch.vertex.resource import VertexJobName

ROOT = "0123456789abcdef0123456789abcdef"
NAME = VertexJobName("my-shop", "us-central1", "42")


def job(state: str = "SUCCEEDED", **fields: Any) -> BatchJob:
    return BatchJob(NAME, JobState(f"JOB_STATE_{state}"), **fields)


def tally(**counts: int) -> Tally:
    found = Tally()
    for name, count in counts.items():
        found.add(RowResult(Outcome(name), "" if name == "ok" else f"why {name}"), count)
    return found


def ended(state: str = "SUCCEEDED", *, distinguished: bool = True, **counts: int) -> EndedRound:
    summary = OutputSummary(tally(**counts), (lambda place: None) if distinguished else None)
    return EndedRound(job(state), (GcsAddress("books", "in.jsonl"),), summary, has_output=True)


def test_first_round_carries_its_identity_only() -> None:
    first = RoundId(ROOT)
    assert first.identity == ROOT
    assert first.labels == {"gemini_batch_id": ROOT}


def test_follow_up_says_what_it_belongs_to() -> None:
    second = RoundId(ROOT).next_after(job())
    assert second.labels == {
        "gemini_batch_id": RoundId(ROOT, 1, "42").identity,
        "gemini_batch_root": ROOT,
        "gemini_batch_round": "1",
        "gemini_batch_after": "42",
    }
    third = second.next_after(job())
    assert (third.root, third.number, third.after) == (ROOT, 2, "42")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_round_is_read_from_its_job(number: int) -> None:
    one = RoundId(ROOT, number, "41" if number else "")
    assert RoundId.of(job(labels={**one.labels, "team": "books"})) == one


def test_job_of_nobody_is_a_first_round() -> None:
    assert RoundId.of(job()) == RoundId("")


def test_names_of_two_rounds_differ() -> None:
    rounds = [RoundId(ROOT), RoundId(ROOT, 1, "42"), RoundId(ROOT, 1, "43"), RoundId(ROOT, 2, "42")]
    assert len({one.short_name for one in rounds}) == len(rounds)


@pytest.mark.parametrize(
    ("one", "follows"),
    [
        (ended(ok=1, missing=9), True),
        (ended("PARTIALLY_SUCCEEDED", ok=1, missing=9), True),
        (ended(retryable=10), True),
        (ended(ok=1, missing=9, distinguished=False), False),
        (ended("EXPIRED", ok=1, missing=9), True),
        (ended("EXPIRED", retryable=10), False),
        (ended("EXPIRED", ok=1, missing=9, distinguished=False), False),
        (ended("FAILED", ok=9, missing=1), False),
        (ended("CANCELLED", ok=9, missing=1), False),
        (ended("PAUSED", ok=9, missing=1), False),
    ],
)
def test_rows_to_go_on_from(one: EndedRound, follows: bool) -> None:
    assert one.can_be_followed is follows


@pytest.mark.parametrize(
    ("rounds", "counts"),
    [
        ([ended(ok=7, missing=3)], {"ok": 7, "missing": 3}),
        ([ended(ok=6, rejected=1, retryable=2, missing=1), ended(ok=3)], {"ok": 9, "rejected": 1}),
        ([ended(retryable=5), ended(ok=2, blocked=1, missing=2)], {"ok": 2, "blocked": 1, "missing": 2}),
        (
            [ended(ok=1, retryable=4), ended(ok=1, truncated=1, retryable=2), ended(ok=1, retryable=1)],
            {"ok": 3, "truncated": 1, "retryable": 1},
        ),
    ],
)
def test_outcomes_of_all_rounds_add_up_to_the_requests(
    rounds: list[EndedRound], counts: dict[str, int]
) -> None:
    total = merged(rounds)
    assert {outcome.value: count for outcome, count in total.counts.items() if count} == counts
    assert total.rows == rounds[0].tally.rows


def test_samples_tell_of_what_is_still_unanswered() -> None:
    total = merged([ended(rejected=1, retryable=2), ended(ok=1, missing=1)])
    assert total.samples == ["missing: why missing", "rejected: why rejected"]


def test_rows_counted_apart_are_added() -> None:
    one, two = ended(ok=1, missing=1), ended(ok=1)
    one.tally.duplicates, one.tally.unknown, two.tally.unknown = 1, 2, 3
    total = merged([one, two])
    assert (total.duplicates, total.unknown) == (1, 5)
