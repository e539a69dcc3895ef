"""Submissions as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_gemini_batch.core.model_families import (
    FAMILIES,
    GEMINI_EMBEDDING,
    GENERATE_CONTENT,
    TEXT_EMBEDDING,
    ModelFamily,
)
from airflow_gemini_batch.jobs.manifest import Round
from airflow_gemini_batch.jobs.summaries import failed_rows_query, job_summaries


def round_(output: str = "", **times: str) -> Round:
    return Round("jobs/1", "JOB_STATE_SUCCEEDED", (), output, {"ok": 1}, times=times)


@pytest.mark.parametrize(
    ("family", "output", "query"),
    [
        (
            GENERATE_CONTENT,
            "bq://my-shop.books.out",
            """\
SELECT * FROM `my-shop.books.out` AS answers
WHERE IFNULL(
  JSON_VALUE(answers.response, '$.candidates[0].finishReason'), ''
) != 'STOP'
LIMIT 100""",
        ),
        (
            TEXT_EMBEDDING,
            "bq://my-shop.books.out",
            "SELECT * FROM `my-shop.books.out` AS answers\nWHERE IFNULL(answers.status, '') != ''\nLIMIT 100",
        ),
        (
            GENERATE_CONTENT,
            "gs://shop/out/",
            "gcloud storage cat 'gs://shop/out/predictions.jsonl*' |\n"
            "  jq -c 'select(.response.candidates[0].finishReason != \"STOP\")'",
        ),
        (
            GEMINI_EMBEDDING,
            "gs://shop/out",
            "gcloud storage cat 'gs://shop/out/predictions.jsonl*' |\n"
            "  jq -c 'select(.response.embedding == null and .response.embeddings == null)'",
        ),
        (GENERATE_CONTENT, "", ""),
    ],
)
def test_rows_without_an_answer_are_found_by(family: ModelFamily, output: str, query: str) -> None:
    assert failed_rows_query([round_(), round_(output)], family) == query


def test_every_family_knows_its_failed_rows() -> None:
    for family in FAMILIES.values():
        assert failed_rows_query([round_("gs://shop/out")], family)


def test_jobs_are_numbered_by_shard_and_round() -> None:
    rounds = [round_(created="2026-11-22T01:00:00+00:00"), round_()], [round_()]
    found = job_summaries(rounds, lambda name: f"https://console/{name}")
    assert [(job.shard, job.follow_up) for job in found] == [(1, 0), (1, 1), (2, 0)]
    assert {job.url for job in found} == {"https://console/jobs/1"}
    assert {job.state for job in found} == {"SUCCEEDED"}
    assert [job.created for job in found] == [datetime(2026, 11, 22, 1, tzinfo=UTC), None, None]
