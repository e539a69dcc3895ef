from __future__ import annotations

from typing import Any

import pytest

from airflow_gemini_batch.core.summary import Summary
from airflow_gemini_batch.exceptions import GeminiBatchError, JobFailedError, RowsFailedError
from airflow_gemini_batch.jobs.failures import cancel_message, fails_again, job_failure
from airflow_gemini_batch.jobs.state import BatchJob, JobError, JobState
from airflow_gemini_batch.outputs.classify import Outcome, RowResult, Tally
from airflow_gemini_batch.vertex.resource import VertexJobName
from tests.support.texts import flat

NAME = VertexJobName("my-shop", "us-central1", "42")


def job(state: str, **fields: Any) -> BatchJob:
    return BatchJob(name=NAME, state=JobState(f"JOB_STATE_{state}"), **fields)


def tally(ok: int = 0, rejected: int = 0, missing: int = 0) -> Tally:
    found = Tally()
    if ok:
        found.add(RowResult(Outcome.OK), ok)
    if rejected:
        found.add(RowResult(Outcome.REJECTED, "Bad Request: no such role"), rejected)
    found.complete(ok + rejected + missing)
    return found


def report(failure: GeminiBatchError | None) -> str:
    assert failure is not None
    return flat(failure)


@pytest.mark.parametrize("state", ["SUCCEEDED", "PARTIALLY_SUCCEEDED"])
@pytest.mark.parametrize(
    ("rows", "allowed"),
    [
        pytest.param(tally(ok=10), 0.0, id="every-row-answered"),
        pytest.param(tally(ok=19, rejected=1), 0.05, id="as-many-failures-as-allowed"),
        pytest.param(tally(ok=7, missing=3), 0.3, id="missing-within-the-allowance"),
        pytest.param(tally(ok=1, rejected=9), 1.0, id="one-answer-where-all-may-fail"),
    ],
)
def test_end_is_a_success(state: str, rows: Tally, allowed: float) -> None:
    assert job_failure(job(state), rows, max_failed_fraction=allowed) is None


@pytest.mark.parametrize("state", ["SUCCEEDED", "PARTIALLY_SUCCEEDED"])
def test_rows_without_any_answer_are_a_result_where_failures_are_landed(state: str) -> None:
    settings: dict[str, Any] = {"max_failed_fraction": 1.0, "needs_answers": False}
    assert job_failure(job(state), tally(rejected=9, missing=1), **settings) is None
    assert job_failure(job(state), tally(), **settings) is not None
    assert (
        job_failure(job(state), tally(rejected=1), max_failed_fraction=0.5, needs_answers=False) is not None
    )
    # Only a job that succeeded says what became of its rows.
    for ended in ("FAILED", "EXPIRED", "CANCELLED"):
        assert job_failure(job(ended), tally(rejected=1), follow_up=True, **settings) is not None


@pytest.mark.parametrize("state", ["SUCCEEDED", "PARTIALLY_SUCCEEDED"])
@pytest.mark.parametrize(
    ("rows", "allowed", "said"),
    [
        pytest.param(tally(), 1.0, "succeeded, but there is no output", id="no-rows"),
        pytest.param(tally(rejected=10), 1.0, "succeeded, but no row has an answer", id="nothing-but-errors"),
        pytest.param(tally(missing=10), 1.0, "succeeded, but no row has an answer", id="nothing-came-back"),
        pytest.param(
            tally(ok=18, rejected=2),
            0.05,
            "2 of 20 rows have no answer (10.00%; max_failed_fraction allows 5.00%)",
            id="too-many-failures",
        ),
        pytest.param(
            tally(ok=999, missing=1), 0.0, "1 of 1000 rows have no answer", id="one-where-none-may-fail"
        ),
    ],
)
def test_success_of_the_job_alone_is_not_enough(state: str, rows: Tally, allowed: float, said: str) -> None:
    failure = job_failure(job(state), rows, max_failed_fraction=allowed)
    assert isinstance(failure, RowsFailedError)
    assert not failure.retryable
    assert said in report(failure)
    assert "Another try finds the same job again" in report(failure)


@pytest.mark.parametrize(
    ("code", "message", "again"),
    [
        (3, "Failed to import data. Not found: Dataset shop was not found in location US at [2:1]", True),
        (3, "Failed to import data.", True),
        (0, "Failed to import data. Invalid field name", True),
        (3, "Failed to import data. Provided Schema does not match Table", True),
        (3, "Failed to import data. Quota exceeded: imports per project", False),
        (3, "Failed to import data. Exceeded rate limits: too many table update operations", False),
        (3, "Failed to import data. The job encountered an internal error during execution", False),
        (13, "Failed to import data.", False),
        (5, "The PublisherModel gemini-0 does not exist.", True),
        (11, "Index out of range", True),
        (12, "Do not support publisher model gemini-0", True),
        (3, "Service agents are being provisioned. Please try again in a few minutes.", False),
        (5, "The service account is being created", False),
        *[(code, "no", False) for code in (0, 1, 2, 4, 6, 7, 8, 9, 10, 13, 14, 15, 16, 99)],
    ],
)
@pytest.mark.parametrize("follow_up", [False, True])
def test_job_that_would_fail_again_is_not_retried(
    code: int, message: str, again: bool, follow_up: bool
) -> None:
    failed = job("FAILED", error=JobError(code, message))
    failure = job_failure(failed, tally(), max_failed_fraction=1.0, follow_up=follow_up)
    assert isinstance(failure, JobFailedError)
    assert failure.retryable is not again
    assert ("A new job would fail in the same way" in report(failure)) is again
    assert ("The next try" in report(failure)) is not again
    assert message in report(failure)


@pytest.mark.parametrize(
    ("message", "requests", "said"),
    [
        ("Failed to import data. Invalid field name", ("gs://b/1.jsonl",), True),
        ("Failed to import data. Syntax error", ("bq://p.d.t",), False),
        ("Invalid model parameter", ("gs://b/1.jsonl",), False),
    ],
)
def test_who_cannot_import_files_learns_how_to_find_the_line(
    message: str, requests: tuple[str, ...], said: bool
) -> None:
    assert ("gemini-batch validate --all" in fails_again(JobError(3, message), requests)) is said


@pytest.mark.parametrize("state", ["CANCELLED", "EXPIRED", "PAUSED"])
def test_only_a_failed_job_fails_again(state: str) -> None:
    failure = job_failure(job(state, error=JobError(3, "cancelled")), tally(), max_failed_fraction=1.0)
    assert failure is not None
    assert failure.retryable


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("FAILED", "The batch job failed."),
        ("CANCELLED", "The batch job was cancelled."),
        ("EXPIRED", "The batch job expired: it did not start"),
    ],
)
@pytest.mark.parametrize("rows", [tally(), tally(ok=10)], ids=["no-rows", "every-row-answered"])
def test_job_that_ended_badly_is_a_failure_whatever_its_rows(state: str, said: str, rows: Tally) -> None:
    failure = job_failure(job(state), rows, max_failed_fraction=1.0)
    assert isinstance(failure, JobFailedError)
    assert failure.retryable
    assert said in report(failure)
    assert report(failure).endswith("The next try submits a new job.")


def test_stuck_job_may_hold_resources() -> None:
    failure = job_failure(job("PAUSED"), tally(ok=10), max_failed_fraction=1.0)
    assert isinstance(failure, JobFailedError)
    assert "is PAUSED" in str(failure)
    assert "Cancel it in the console" in str(failure)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        pytest.param(tally(ok=7, missing=3), True, id="some-rows-finished"),
        pytest.param(tally(missing=10), False, id="none-finished"),
    ],
)
def test_report_says_what_is_kept_of_a_job_that_ended_early(rows: Tally, kept: bool) -> None:
    text = report(job_failure(job("EXPIRED"), rows, max_failed_fraction=0.0))
    assert ("Its 7 finished rows are kept." in text) is kept


@pytest.mark.parametrize("state", ["FAILED", "PAUSED", "SUCCEEDED"])
def test_report_is_the_summary_with_what_happened_and_what_to_do(state: str) -> None:
    ended = job(state, error=JobError(8, "quota exhausted"))
    known = Summary("", rows={"ok": 1, "rejected": 2}, places={"Requests": "gs://books/in.jsonl"})
    failure = job_failure(ended, tally(ok=1, rejected=2, missing=1), max_failed_fraction=0.1, summary=known)
    assert report(failure).startswith("The batch job ")
    assert "Error [code 8] quota exhausted Rows 1 ok, 2 rejected Requests gs://books/in.jsonl Next" in report(
        failure
    )


def test_report_leaves_out_what_is_not_known() -> None:
    text = str(job_failure(job("FAILED"), tally(), max_failed_fraction=0.0))
    assert text.splitlines() == ["The batch job failed.", "Next        The next try submits a new job."]


def test_cancelled_job_tells_what_is_kept() -> None:
    assert cancel_message(job("CANCELLED"), 7) == (
        "It was cancelled (CANCELLED). Its 7 finished rows are kept. The next try submits a new job."
    )
    assert cancel_message(job("CANCELLED")) == "It was cancelled (CANCELLED). The next try submits a new job."


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED", "PAUSED"])
def test_bad_end_of_a_follow_up_is_no_failure_while_enough_is_answered(state: str) -> None:
    assert job_failure(job(state), tally(ok=9, missing=1), max_failed_fraction=0.1, follow_up=True) is None


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED", "PAUSED"])
def test_bad_end_of_a_follow_up_that_leaves_too_much_open_can_be_mended_by_itself(state: str) -> None:
    failure = job_failure(job(state), tally(ok=8, missing=2), max_failed_fraction=0.1, follow_up=True)
    assert isinstance(failure, JobFailedError)
    assert report(failure).startswith("The follow-up job")
    assert report(failure).endswith("The next try submits only this follow-up again.")
    assert "submits a new job" not in report(failure)


@pytest.mark.parametrize(("rows", "fails"), [(tally(ok=9, missing=1), False), (tally(ok=8, missing=2), True)])
def test_rows_of_an_expired_job_that_are_gone_on_from_are_judged(rows: Tally, fails: bool) -> None:
    failure = job_failure(job("EXPIRED"), rows, max_failed_fraction=0.1, has_result=True)
    assert isinstance(failure, RowsFailedError) is fails
