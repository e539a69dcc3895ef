"""What a run cost, in the manifest and in the log, and the ceiling before it is paid."""

from __future__ import annotations

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_gemini_batch.costs.prices import PriceTable
from airflow_gemini_batch.exceptions import JobFailedError, JobTimeoutError
from airflow_gemini_batch.outputs.matched_lines import CountedLines
from airflow_gemini_batch.outputs.tables import BigQueryStorage
from airflow_gemini_batch.outputs.usage import Usage
from tests.operators.stage import describe
from tests.support.requests_data import answers, request, upload
from tests.support.tasks import TaskInstance, run_task
from tests.support.texts import flat

MODEL = "gemini-3.8-flash"


def creates(vertex) -> int:
    return vertex.requests.counts.get("create", 0)


@pytest.fixture
def messages(mocker):
    """Collect what operators say, formatted."""
    from airflow_gemini_batch.operators.gemini import SubmitGeminiBatchOperator

    log = mocker.patch.object(SubmitGeminiBatchOperator, "log", mocker.Mock())

    def told(level: str) -> str:
        calls = getattr(log, level).call_args_list
        return "\n".join(call.args[0] % call.args[1:] for call in calls)

    return told


def test_manifest_and_log_tell_tokens_and_cost(gemini_batch_stack, vertex, source, messages):
    manifest = run_task(describe(source))
    rows = answers(gemini_batch_stack, manifest["outputs"][0])
    counts = [row["response"]["usageMetadata"] for row in rows]
    prompt, output, thoughts = (
        sum(one.get(name, 0) for one in counts)
        for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )
    assert prompt
    assert output
    assert manifest["usage"] == {MODEL: Usage(10, prompt, output, thoughts).to_json()}
    # The package's batch rates, in dollars for a million tokens; outside "global" a tenth more.
    assert manifest["cost"]["amount"] == pytest.approx(
        1.1 * (prompt * 0.375 + (output + thoughts) * 1.875) / 1e6
    )
    assert {key: manifest["cost"][key] for key in ("currency", "rates_as_of", "unpriced")} == {
        "currency": "USD",
        "rates_as_of": "2026-11",
        "unpriced": [],
    }
    kinds = [
        f"{n:,} {kind}" for n, kind in ((prompt, "prompt"), (output, "output"), (thoughts, "thoughts")) if n
    ]
    told = flat(messages("info"))
    assert f"10 of 10 rows answered. Rows 10 ok Tokens {', '.join(kinds)} Cost $" in told
    assert "at batch rates of 2026-11" in told


def test_tables_cost_what_files_cost(vertex, source, books):
    assert run_task(describe(books))["usage"] == run_task(describe(source))["usage"]


@pytest.mark.usefixtures("half_of_rows_missing")
def test_all_rounds_are_counted(vertex, source):
    manifest = run_task(describe(source))
    assert len(manifest["rounds"]) == 2
    assert manifest["usage"][MODEL]["rows"] == manifest["counts"]["ok"] == 10


def test_rows_that_were_repeated_were_paid(vertex, source):
    vertex.faults.plan("repeat_rows")
    manifest = run_task(describe(source))
    repeated = manifest["rounds"][0]["surplus"]["duplicate"]
    assert repeated
    assert manifest["usage"][MODEL]["rows"] == 10 + repeated


def test_requests_that_are_gone_do_not_lose_the_tokens(gemini_batch_stack, vertex, source, mocker):
    from airflow_gemini_batch.exceptions import SourceNotReadyError
    from airflow_gemini_batch.outputs.store import DataStore

    mocker.patch.object(DataStore, "summarize", side_effect=SourceNotReadyError("gone"))
    assert run_task(describe(source))["usage"][MODEL]["rows"] == 10


def test_tokens_that_can_t_be_counted_fail_no_run(vertex, books, messages, mocker):
    from google.api_core.exceptions import ServiceUnavailable

    from airflow_gemini_batch.exceptions import SourceNotReadyError
    from airflow_gemini_batch.outputs.store import DataStore

    # Otherwise the statement that sorts the rows counts their tokens too.
    mocker.patch.object(DataStore, "summarize", side_effect=SourceNotReadyError("gone"))
    mocker.patch.object(BigQueryStorage, "usage", side_effect=ServiceUnavailable("later"))
    manifest = run_task(describe(books))
    assert (manifest["counts"]["ok"], manifest["usage"], manifest["cost"]) == (10, {}, None)
    assert "The tokens could not be counted: 503 later" in messages("warning")


def test_price_file_that_can_t_be_read_fails_no_run(vertex, source, messages, monkeypatch):
    monkeypatch.setenv("AIRFLOW__GEMINI_BATCH__PRICE_TABLE", "no/prices.csv")
    manifest = run_task(describe(source))
    assert manifest["usage"][MODEL]["rows"] == 10
    assert manifest["cost"] is None
    assert "The tokens could not be priced: the price file no/prices.csv" in messages("warning")
    assert "thoughts Cost unknown Job" in flat(messages("info"))


def test_model_without_a_price_gives_tokens_and_a_warning(vertex, source, messages, mocker):
    mocker.patch.object(PriceTable, "rate", return_value=None)
    manifest = run_task(describe(source, max_cost_usd=0.01, unpriced="allow"))
    assert manifest["usage"][MODEL]["rows"] == 10
    assert (manifest["cost"]["amount"], manifest["cost"]["unpriced"]) == (None, [MODEL])
    assert f"There is no batch rate for {MODEL}, so the cost leaves its tokens out" in messages("warning")
    assert f"max_cost_usd=$0.0100 can't be checked: there is no batch rate for {MODEL}" in messages("warning")


@pytest.mark.parametrize("place", ["source", "books"])
def test_ceiling_that_can_t_be_checked_creates_no_job(vertex, place, request):
    before = creates(vertex)
    with pytest.raises(
        AirflowFailException, match=r"no batch rate for gemini-99; nothing was .* unpriced='allow'"
    ):
        run_task(describe(request.getfixturevalue(place), model="gemini-99", max_cost_usd=5))
    assert creates(vertex) == before


def test_unpriced_is_one_of_two_words(vertex, source):
    with pytest.raises(AirflowFailException, match="unpriced: expected 'refuse' or 'allow', got 'maybe'"):
        run_task(describe(source, max_cost_usd=5, unpriced="maybe"))


@pytest.mark.parametrize("place", ["source", "books"])
def test_answers_of_another_model_are_counted_and_told(vertex, place, request, messages):
    vertex.faults.plan("other_model", model="gemini-3.5-flash-lite")
    manifest = run_task(describe(request.getfixturevalue(place)))
    assert manifest["other_models"] == {"gemini-3.5-flash-lite": 10}
    assert manifest["cost"]["unpriced"] == []
    assert f"10 rows were answered by gemini-3.5-flash-lite, not by {MODEL}: " in messages("warning")


def test_answers_of_the_model_are_no_others(vertex, source, messages):
    assert run_task(describe(source))["other_models"] == {}
    assert "were answered by" not in messages("warning")


def test_answers_without_token_counts_have_no_cost(vertex, source, messages, mocker):
    mocker.patch.object(CountedLines, "usage", return_value={})
    manifest = run_task(describe(source))
    assert (manifest["counts"]["ok"], manifest["cost"]) == (10, None)
    assert "10 answers do not say how many tokens" in messages("warning")


def test_failed_job_tells_what_its_rows_took(vertex, source):
    vertex.faults.plan("fail", share=0.5)
    with pytest.raises(JobFailedError) as failed:
        run_task(describe(source))
    assert re.search(r"Tokens +[\d,]+ prompt, .*\nCost .* at batch rates of 2026-11\n", str(failed.value))


def test_failed_job_without_output_tells_of_no_tokens(vertex, source):
    vertex.faults.plan("expire_queued")
    with pytest.raises(JobFailedError) as failed:
        run_task(describe(source))
    assert not re.search("Tokens|Cost", str(failed.value))


def test_cancelled_job_tells_what_its_rows_took(vertex, source):
    vertex.faults.plan("slow", queue_seconds=0.0, run_seconds=2.0)
    with pytest.raises(JobTimeoutError) as late:
        run_task(describe(source, run_timeout=1.0))
    assert "finished rows are kept" in flat(late.value)
    assert re.search(r"Tokens .*\nCost ", str(late.value))


@pytest.mark.parametrize("place", ["source", "books"])
@pytest.mark.parametrize("ceiling", [0.0001, "0.0001"], ids=["number", "rendered"])
def test_job_that_would_cost_too_much_is_not_created(vertex, place, ceiling, request):
    before = creates(vertex)
    with pytest.raises(
        AirflowFailException, match=r"10 rows for .* would cost about \$0\.0.*nothing was submitted"
    ):
        run_task(describe(request.getfixturevalue(place), max_cost_usd=ceiling))
    assert creates(vertex) == before


def test_job_below_the_ceiling_is_created_and_the_estimate_told(vertex, source, messages):
    assert run_task(describe(source, max_cost_usd="5"))["counts"]["ok"] == 10
    assert f"Estimate: 10 rows for {MODEL}, about " in messages("info")


def test_job_that_is_there_is_taken_whatever_it_cost(vertex, source):
    first = run_task(describe(source))
    assert run_task(describe(source, max_cost_usd=0), TaskInstance(try_number=2)) == first


def test_no_ceiling_is_no_estimate(vertex, source, mocker):
    from airflow_gemini_batch.preflight import job as checks

    estimate = mocker.spy(checks, "estimate_sources")
    run_task(describe(source, max_cost_usd="None"))
    assert estimate.call_count == 0


@pytest.mark.parametrize("ceiling", ["cheap", -1, "nan"])
def test_ceiling_has_to_be_dollars(gemini_batch_stack, vertex, bucket, ceiling):
    source = upload(gemini_batch_stack, bucket, "in.jsonl", [request("a")])
    before = creates(vertex)
    with pytest.raises(AirflowFailException, match="max_cost_usd"):
        run_task(describe(source, max_cost_usd=ceiling))
    assert creates(vertex) == before
