from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_gemini_batch.core.addresses import GcsAddress
from airflow_gemini_batch.costs.prices import Cost
from airflow_gemini_batch.jobs.manifest import VERSION, Manifest, Round
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.outputs.usage import Usage
from airflow_gemini_batch.vertex.resource import VertexJobName

NAME = VertexJobName("1234567890", "us-central1", "42")

COUNTS = {"ok": 98, "retryable": 1, "rejected": 0, "blocked": 0, "truncated": 0, "invalid": 0, "missing": 1}
ROUND = Round(
    job_name=str(NAME),
    state="JOB_STATE_SUCCEEDED",
    source=("gs://books/a.jsonl", "gs://books/b.jsonl"),
    output="gs://books/out/prediction-model-2025",
    counts=COUNTS,
    surplus={"duplicate": 0, "unknown": 0},
    times={"created": "2026-11-22T01:00:00+00:00", "ended": "2026-11-22T01:10:00+00:00"},
)
MANIFEST = Manifest(
    identity="0123456789abcdef0123456789abcdef",
    model="gemini-2.5-flash",
    console_url=NAME.console_url,
    counts=COUNTS,
    rounds=(ROUND,),
    usage={"gemini-2.5-flash": Usage(98, 1090, 95).to_json()},
    cost=Cost(0.1, "2026-11").to_json(),
    other_models={"gemini-3.5-flash-lite": 3},
    question="89abcdef01234567",
)
# What is in XCom of runs made by this release: readers of these names exist outside of this package.
CONTENT: dict[str, Any] = {
    "version": 1,
    "identity": "0123456789abcdef0123456789abcdef",
    "model": "gemini-2.5-flash",
    "console_url": NAME.console_url,
    "outputs": ["gs://books/out/prediction-model-2025"],
    "counts": COUNTS,
    "rounds": [
        {
            "job_name": str(NAME),
            "state": "JOB_STATE_SUCCEEDED",
            "source": ["gs://books/a.jsonl", "gs://books/b.jsonl"],
            "output": "gs://books/out/prediction-model-2025",
            "counts": COUNTS,
            "surplus": {"duplicate": 0, "unknown": 0},
            "times": {"created": "2026-11-22T01:00:00+00:00", "ended": "2026-11-22T01:10:00+00:00"},
        }
    ],
    "usage": {
        "gemini-2.5-flash": {
            "rows": 98,
            "prompt_tokens": 1090,
            "output_tokens": 95,
            "thoughts_tokens": 0,
            "cached_tokens": 0,
            "long_prompt_tokens": 0,
            "long_output_tokens": 0,
            "long_cached_tokens": 0,
            "tool_tokens": 0,
            "long_tool_tokens": 0,
            "audio_tokens": 0,
            "long_audio_tokens": 0,
            "searches": 0,
        }
    },
    "cost": {"amount": 0.1, "currency": "USD", "rates_as_of": "2026-11", "unpriced": []},
    "other_models": {"gemini-3.5-flash-lite": 3},
    "question": "89abcdef01234567",
}


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in CONTENT.items() if key != field}


def test_manifest_has_the_documented_shape() -> None:
    assert MANIFEST.to_json() == CONTENT


def test_manifest_survives_json() -> None:
    assert Manifest.from_json(json.loads(json.dumps(MANIFEST.to_json()))) == MANIFEST


def test_manifest_of_a_release_that_knew_no_money_is_read() -> None:
    later = ("usage", "cost", "other_models", "question")
    earlier = {key: value for key, value in CONTENT.items() if key not in later}
    manifest = Manifest.from_json(earlier)
    assert (manifest.usage, manifest.cost, manifest.other_models, manifest.question) == ({}, None, {}, None)
    assert manifest.counts == COUNTS


def test_manifest_of_a_release_that_knew_no_times_is_read() -> None:
    round_ = {key: value for key, value in CONTENT["rounds"][0].items() if key != "times"}
    assert Manifest.from_json({**CONTENT, "rounds": [round_]}).rounds[0].times == {}


def test_manifest_of_no_rounds_survives_json() -> None:
    empty = Manifest(identity="", model="", console_url="", counts={})
    assert Manifest.from_json(json.loads(json.dumps(empty.to_json()))) == empty


def test_manifest_names_one_output_for_each_round() -> None:
    second = Round(str(NAME), "JOB_STATE_FAILED", (), "", {})
    manifest = Manifest(identity="", model="", console_url="", counts={}, rounds=(ROUND, second))
    assert manifest.to_json()["outputs"] == ["gs://books/out/prediction-model-2025", ""]


def test_manifest_is_small() -> None:
    assert len(json.dumps(MANIFEST.to_json())) < 1400


def test_round_describes_a_job() -> None:
    tally = Tally()
    tally.add(RowResult(Outcome.OK), 98)
    tally.add(RowResult(Outcome.RETRYABLE, "429"))
    tally.complete(100)
    job = BatchJob(
        NAME,
        JobState.SUCCEEDED,
        output=GcsAddress("books", "out/prediction-model-2025"),
        create_time=datetime(2026, 11, 22, 1, tzinfo=UTC),
        end_time=datetime(2026, 11, 22, 1, 10, tzinfo=UTC),
    )
    assert Round.of(job, ["gs://books/a.jsonl", "gs://books/b.jsonl"], tally) == ROUND


def test_round_of_a_job_without_output_names_none() -> None:
    assert Round.of(BatchJob(NAME, JobState.FAILED), [], Tally()).output == ""


def test_round_whose_output_is_not_where_the_job_says_names_none() -> None:
    job = BatchJob(NAME, JobState.FAILED, output=GcsAddress("books", "out/prediction-model-2025"))
    assert Round.of(job, [], Tally(), has_output=False).output == ""


def test_round_keeps_its_counts_when_the_tally_goes_on() -> None:
    tally = Tally()
    one = Round.of(BatchJob(NAME, JobState.SUCCEEDED), [], tally)
    tally.add(RowResult(Outcome.OK))
    assert one.counts["ok"] == 0


def test_added_fields_are_passed_over() -> None:
    later = {**CONTENT, "tokens": 7, "rounds": [{**CONTENT["rounds"][0], "cost": 0.1}]}
    assert Manifest.from_json(later) == MANIFEST


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="none"),
        pytest.param("gs://books/out", id="text"),
        pytest.param([CONTENT], id="list"),
        pytest.param({}, id="empty"),
        pytest.param(without("version"), id="no-version"),
        pytest.param({"version": 1}, id="version-only"),
        pytest.param(without("counts"), id="no-counts"),
        pytest.param(without("rounds"), id="no-rounds"),
        pytest.param({**CONTENT, "rounds": [{}]}, id="empty-round"),
        pytest.param({**CONTENT, "version": "1"}, id="version-as-text"),
        pytest.param({**CONTENT, "version": None}, id="null-version"),
    ],
)
def test_what_is_no_manifest_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match="expected the manifest of a batch job"):
        Manifest.from_json(content)


def test_refusal_quotes_only_the_beginning() -> None:
    with pytest.raises(ValueError, match="expected the manifest of a batch job") as caught:
        Manifest.from_json(["row"] * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300


def test_later_version_asks_for_an_upgrade() -> None:
    with pytest.raises(ValueError, match=f"has version {VERSION + 1}, .* Upgrade airflow-gemini-batch"):
        Manifest.from_json({**CONTENT, "version": VERSION + 1})


@pytest.mark.parametrize(
    ("state", "output", "ok", "had"),
    [
        ("JOB_STATE_SUCCEEDED", "gs://books/out", 0, True),
        ("JOB_STATE_EXPIRED", "gs://books/out", 3, True),
        ("JOB_STATE_EXPIRED", "gs://books/out", 0, False),
        ("JOB_STATE_SUCCEEDED", "", 0, False),
    ],
)
def test_round_tells_whether_there_were_answers(state: str, output: str, ok: int, had: bool) -> None:
    assert Round(str(NAME), state, (), output, {"ok": ok}).had_answers is had
