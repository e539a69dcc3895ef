from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from airflow_gemini_batch.jobs.identity import (
    RoundId,
    TaskRun,
    display_name,
    fingerprint,
    identity,
)

RUN = TaskRun("nightly", "scheduled__2025-01-02", "submit", 3)
REQUEST: dict[str, Any] = {
    "model": "publishers/google/models/gemini-2.5-flash",
    "model_parameters": {"outputDimensionality": "768"},
    "source_versions": ["gs://books/b.jsonl#2", "gs://books/a.jsonl#1"],
    "destination": "gs://books/out",
}
FINGERPRINT = "e9b2ce7ba1d7c4404090c05e456626c80ce38818f80d28f0fd128e21e1aa7050"
IDENTITY = "b811b8554aafdab1391593939f1aaee8"


# A release that changes one of these submits, and pays for, the jobs of tries that are under way once more.
def test_fingerprint_is_the_same_in_every_release() -> None:
    assert fingerprint(**REQUEST) == FINGERPRINT


def test_identity_is_the_same_in_every_release() -> None:
    assert identity(RUN, FINGERPRINT) == IDENTITY


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"source_versions": REQUEST["source_versions"][::-1]}, id="order-of-the-sources"),
        pytest.param({"source_versions": tuple(REQUEST["source_versions"])}, id="kind-of-sequence"),
    ],
)
def test_fingerprint_stays_where_the_answers_do(change: dict[str, Any]) -> None:
    assert fingerprint(**REQUEST | change) == FINGERPRINT


def test_fingerprint_does_not_depend_on_the_order_of_parameters() -> None:
    one = REQUEST | {"model_parameters": {"a": {"x": 1, "y": 2}, "b": 3}}
    other = REQUEST | {"model_parameters": {"b": 3, "a": {"y": 2, "x": 1}}}
    assert fingerprint(**one) == fingerprint(**other)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model": "publishers/google/models/gemini-2.5-pro"}, id="model"),
        pytest.param({"model_parameters": {}}, id="no-parameters"),
        pytest.param({"model_parameters": {"outputDimensionality": "256"}}, id="parameter"),
        pytest.param({"model_parameters": {"outputDimensionality": 768}}, id="type-of-a-parameter"),
        pytest.param({"source_versions": ["gs://books/a.jsonl#1"]}, id="one-file-less"),
        pytest.param(
            {"source_versions": ["gs://books/a.jsonl#9", "gs://books/b.jsonl#2"]}, id="file-written-anew"
        ),
        pytest.param(
            {"source_versions": ["gs://books/a.jsonl#1,gs://books/b.jsonl#2"]}, id="files-run-together"
        ),
        pytest.param({"destination": ""}, id="no-destination"),
        pytest.param({"destination": "gs://books/out2"}, id="destination"),
    ],
)
def test_fingerprint_changes_with_the_answers(change: dict[str, Any]) -> None:
    assert fingerprint(**REQUEST | change) != FINGERPRINT


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(RUN, dag_id="weekly"), id="dag"),
        pytest.param(replace(RUN, run_id="manual__2025-01-02"), id="run"),
        pytest.param(replace(RUN, task_id="submit_2"), id="task"),
        pytest.param(replace(RUN, map_index=4), id="mapped-task"),
        pytest.param(replace(RUN, map_index=-1), id="task-that-is-not-mapped"),
        pytest.param(TaskRun("nightlyscheduled__", "2025-01-02", "submit", 3), id="names-run-together"),
    ],
)
def test_identity_tells_task_runs_apart(other: TaskRun) -> None:
    assert identity(other, FINGERPRINT) != IDENTITY


def test_task_that_is_not_mapped_is_number_minus_one() -> None:
    assert TaskRun("nightly", "manual", "submit") == TaskRun("nightly", "manual", "submit", -1)


@pytest.mark.parametrize("salt", ["try 1", "try 2", " "])
def test_salt_gives_another_identity(salt: str) -> None:
    assert identity(RUN, FINGERPRINT, salt=salt) != IDENTITY


def test_salts_differ() -> None:
    assert identity(RUN, FINGERPRINT, salt="try 1") != identity(RUN, FINGERPRINT, salt="try 2")


def test_other_request_gives_another_identity() -> None:
    assert identity(RUN, "another") != IDENTITY


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(TaskRun("", "", ""), id="empty"),
        pytest.param(TaskRun("bücher", "manual__本", "😀"), id="unicode"),
        pytest.param(TaskRun("d" * 250, "r" * 250, "t" * 250, 10**6), id="very-long"),
    ],
)
def test_identity_is_a_legal_label_whatever_the_names(run: TaskRun) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", identity(run, FINGERPRINT))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("nightly.submit", f"nightly.submit {IDENTITY}", id="short"),
        pytest.param("n" * 95, f"{'n' * 95} {IDENTITY}", id="longest"),
        pytest.param("n" * 96, f"{'n' * 95} {IDENTITY}", id="one-too-long"),
        pytest.param("本" * 500, f"{'本' * 95} {IDENTITY}", id="very-long-unicode"),
        pytest.param("", f" {IDENTITY}", id="empty"),
    ],
)
def test_display_name_is_cut_before_the_identity(name: str, shown: str) -> None:
    assert display_name(name, IDENTITY) == shown
    assert len(shown) <= 128


def test_identity_of_a_follow_up_tells_submission_round_and_job_before() -> None:
    same = RoundId("a" * 32, 1, "42").identity
    assert RoundId("a" * 32, 1, "42").identity == same
    assert re.fullmatch(r"[0-9a-f]{32}", same)
    others = [
        RoundId("b" * 32, 1, "42").identity,
        RoundId("a" * 32, 2, "42").identity,
        RoundId("a" * 32, 1, "43").identity,
    ]
    assert len({same, *others}) == 4
