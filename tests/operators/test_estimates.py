"""The estimate of a build: by the day, and from what earlier answers in the target took."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch import BuildGeminiRequestsOperator
from airflow_gemini_batch.jobs import polling
from airflow_gemini_batch.operators.preflight import PreflightGeminiBatchOperator
from tests.operators.steps import BOOKS, PROMPT, book, built, landed, reported, submitted
from tests.support.tables import fill, make_dataset
from tests.support.tasks import run_task

LAST_DAY, DOUBLED, RETIRED = (
    datetime(2026, 11, 30, 12, tzinfo=UTC),
    datetime(2026, 12, 1, tzinfo=UTC),
    datetime(2027, 4, 1, tzinfo=UTC),
)
ROWS = [book(number) for number in range(5)]


@pytest.fixture
def places(gemini_batch_stack, bucket, request):
    """Return source, requests and target, in BigQuery or in files."""
    if request.param == "files":
        return ROWS, f"gs://{bucket}/requests", f"gs://{bucket}/described.parquet"
    dataset = make_dataset(gemini_batch_stack)
    return fill(gemini_batch_stack, f"{dataset}.books", BOOKS, ROWS), dataset, f"{dataset}.described"


@pytest.mark.parametrize("places", ["tables", "files"], indirect=True)
def test_second_run_is_estimated_from_the_answers_of_the_first(places):
    source, requests, target = places
    first = reported(source, requests=requests, target=target)["estimate"]
    assert (first["output_tokens_low"], first["output_tokens"]) == (5 * 300, 5 * 5000)
    assert first["cost_low"]["amount"] < first["cost"]["amount"]
    manifests = submitted(built(source, requests=requests, target=target))
    landed(manifests, target)
    (usage,) = manifests[0]["usage"].values()
    # Another prompt asks about all rows again.
    second = reported(source, requests=requests, target=target, prompt=f"{PROMPT} Briefly.")["estimate"]
    taken = usage["output_tokens"] + usage["thoughts_tokens"]
    assert taken
    assert second["output_tokens_low"] == second["output_tokens"] == taken
    assert "each answer takes what 5 answers in the target took on average" in second["basis"]


@pytest.mark.parametrize("places", ["tables"], indirect=True)
def test_answers_of_another_model_tell_nothing(places):
    source, requests, target = places
    landed(submitted(built(source, requests=requests, target=target)), target)
    other = reported(source, requests=requests, target=target, model="gemini-4-neon")["estimate"]
    assert (other["output_tokens_low"], other["output_tokens"]) == (5 * 300, 5 * 5000)


# 5 rows of 100 output tokens: $0.0025 at $5 a million tokens, and a tenth more outside "global".
@pytest.mark.parametrize(("day", "within"), [(LAST_DAY, True), (DOUBLED, False), (RETIRED, False)])
def test_ceiling_is_compared_at_the_rates_of_the_day(bucket, monkeypatch, day, within):
    monkeypatch.setattr(polling, "utc_now", lambda: day)
    build = BuildGeminiRequestsOperator(
        task_id="build",
        source=ROWS,
        key="isbn",
        prompt=PROMPT,
        model="gemini-4-argon",
        generation_config={"maxOutputTokens": 100},
        requests=f"gs://{bucket}/requests",
        max_cost_usd=0.004,
    )
    if within:
        assert run_task(build)
    else:
        with pytest.raises(
            AirflowFailException, match=r"would cost about \$0\.0055 .* more than max_cost_usd=\$0\.0040"
        ):
            run_task(build)


@pytest.mark.parametrize("unpriced", ["refuse", "allow"])
def test_build_refuses_a_ceiling_without_a_price(bucket, unpriced):
    build = BuildGeminiRequestsOperator(
        task_id="build",
        source=ROWS,
        key="isbn",
        prompt=PROMPT,
        model="gemini-99",
        requests=f"gs://{bucket}/requests",
        max_cost_usd=5,
        unpriced=unpriced,
    )
    if unpriced == "allow":
        assert run_task(build)
    else:
        with pytest.raises(AirflowFailException, match="no batch rate for gemini-99; nothing was submitted"):
            run_task(build)


@pytest.mark.parametrize(
    ("day", "arguments", "told"),
    [
        (LAST_DAY, {"model": "gemini-2.5-flash"}, "closed to new projects since 2026-10-20"),
        (DOUBLED, {"model": "gemini-2.5-flash"}, "closed to new projects since 2026-10-20"),
        (RETIRED, {"model": "gemini-2.5-flash"}, "1 error.* Vertex AI retired it on 2027-03-31"),
        (RETIRED, {}, None),
        (LAST_DAY, {"model": "gemini-99"}, None),
        (LAST_DAY, {"model": "gemini-99", "max_cost_usd": 5, "unpriced": "allow"}, None),
        (LAST_DAY, {"model": "gemini-99", "max_cost_usd": "5"}, "1 error.* no batch rate for gemini-99"),
    ],
)
def test_preflight_knows_the_end_and_the_price_of_a_model(
    tmp_path, bucket, monkeypatch, day, arguments, told
):
    monkeypatch.setattr(polling, "utc_now", lambda: day)
    settings = {"model": "gemini-3.8-flash", "requests": f"gs://{bucket}/requests", **arguments}
    check = PreflightGeminiBatchOperator(
        task_id="preflight",
        source=ROWS,
        key="isbn",
        prompt=PROMPT,
        target=str(tmp_path / "t.jsonl"),
        **settings,
    )
    if told and "error" in told:
        with pytest.raises(AirflowFailException, match=f"(?s){told}"):
            run_task(check)
    else:
        warnings = run_task(check)["warnings"]
        assert len(warnings) == bool(told)
        assert all(told in warning for warning in warnings)
