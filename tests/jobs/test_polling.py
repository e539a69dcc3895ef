from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_gemini_batch.exceptions import InvalidRequestError
from airflow_gemini_batch.jobs import polling
from airflow_gemini_batch.jobs.patience import DEFAULT_PATIENCE
from airflow_gemini_batch.jobs.polling import (
    LONGEST_BACKOFF,
    SHORTEST_INTERVAL,
    AskAgain,
    Decision,
    JobWait,
    WaitOutcome,
    WaitOver,
    WaitPolicy,
    progress_text,
    utc_now,
)
from airflow_gemini_batch.jobs.state import BatchJob, JobState
from airflow_gemini_batch.vertex.resource import VertexJobName

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
NAME = VertexJobName("my-shop", "us-central1", "42")
REFUSALS = DEFAULT_PATIENCE.refusals
POLICY = WaitPolicy(poll_interval=60, queue_timeout=10 * 3600, run_timeout=5 * 3600)


def hours_ago(hours: float | None) -> datetime | None:
    return None if hours is None else NOW - timedelta(hours=hours)


def job(state: str, created: float | None = None, started: float | None = None) -> BatchJob:
    """Return a job that was created and started so many hours ago."""
    return BatchJob(
        name=NAME,
        state=JobState(f"JOB_STATE_{state}"),
        create_time=hours_ago(created),
        start_time=hours_ago(started),
    )


def wait(policy: WaitPolicy = POLICY) -> JobWait:
    return JobWait(NAME, policy, give_up_at=NOW + timedelta(seconds=POLICY.longest))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def seconds_of(decision: Decision) -> float:
    assert isinstance(decision, AskAgain), decision
    return decision.seconds


def about(seconds: float) -> Any:
    # A pause varies by a tenth either way.
    return pytest.approx(seconds, rel=0.1000001)


@pytest.mark.parametrize("field", ["poll_interval", "queue_timeout", "run_timeout"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, True, "60", None], ids=repr)
def test_policy_refuses_what_is_no_time(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"{field}: expected a number of seconds above 0"):
        WaitPolicy(**{field: value})


def test_policy_takes_fractions_and_adds_up_its_limits() -> None:
    assert WaitPolicy(poll_interval=0.5, queue_timeout=1.5, run_timeout=2).longest == 3.5


def test_default_policy_is_the_longest_honest_wait() -> None:
    assert WaitPolicy().longest == 96 * 3600


@pytest.mark.parametrize(
    "state", ["SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PAUSED"]
)
def test_wait_is_over_when_the_job_stands_still(state: str) -> None:
    # However late: an end that has come is never a timeout.
    assert wait().answered(job(state, created=1000, started=900), NOW) == WaitOver(WaitOutcome.ENDED)


@pytest.mark.parametrize(
    "asked_about",
    [
        pytest.param(job("QUEUED", created=9.99), id="queued"),
        pytest.param(job("PENDING", created=9.99), id="pending"),
        pytest.param(job("UNSPECIFIED", created=9.99), id="unknown-state"),
        pytest.param(job("PENDING", created=9.99, started=9.5), id="queued-again-after-a-start"),
        pytest.param(job("RUNNING", created=100, started=4.99), id="running-after-a-long-queue"),
        pytest.param(job("UPDATING", created=100, started=4.99), id="updating"),
        pytest.param(job("CANCELLING", created=100, started=4.99), id="cancelling"),
        pytest.param(job("RUNNING", created=14.99), id="running-with-no-start-known"),
        pytest.param(job("CANCELLING", created=14.99), id="cancelled-in-the-queue"),
    ],
)
def test_job_within_its_limits_is_asked_about_again(asked_about: BatchJob) -> None:
    assert seconds_of(wait().answered(asked_about, NOW)) == about(60)


@pytest.mark.parametrize(
    ("asked_about", "limit"),
    [
        pytest.param(job("QUEUED", created=10), "(queue_timeout) is 10 h", id="queued"),
        pytest.param(job("PENDING", created=11), "waiting to start since 2025-06-01 01:00 UTC", id="pending"),
        pytest.param(job("UNSPECIFIED", created=10), "(queue_timeout) is 10 h", id="unknown-state"),
        pytest.param(job("RUNNING", created=5, started=5), "(run_timeout) is 5 h", id="running"),
        pytest.param(
            job("UPDATING", created=6, started=6), "running since 2025-06-01 06:00 UTC", id="updating"
        ),
        pytest.param(job("CANCELLING", created=5, started=5), "(run_timeout) is 5 h", id="cancelling"),
        pytest.param(
            job("RUNNING", created=15),
            "(queue_timeout and run_timeout together) is 15 h",
            id="no-start-known",
        ),
    ],
)
def test_job_over_a_limit_is_given_up_with_the_reason(asked_about: BatchJob, limit: str) -> None:
    decision = wait().answered(asked_about, NOW)
    assert isinstance(decision, WaitOver)
    assert decision.outcome is WaitOutcome.TIMED_OUT
    assert limit in decision.reason


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
def test_job_without_times_is_not_waited_for_without_end(state: str) -> None:
    one = wait()
    seconds_of(one.answered(job(state), after(POLICY.longest - 1)))
    decision = one.answered(job(state), after(POLICY.longest))
    assert isinstance(decision, WaitOver)
    assert decision.outcome is WaitOutcome.LOST


@pytest.mark.parametrize(
    ("age", "poll_interval", "pause"),
    [
        pytest.param(0, 60, SHORTEST_INTERVAL, id="new"),
        pytest.param(40, 60, SHORTEST_INTERVAL, id="young"),
        pytest.param(100, 60, 10, id="a-tenth-of-its-age"),
        pytest.param(599, 60, 59.9, id="nearly-old"),
        pytest.param(600, 60, 60, id="old"),
        pytest.param(30_000, 60, 60, id="very-old"),
        pytest.param(30_000, 600, 600, id="long-interval"),
        pytest.param(0, 0.5, 0.5, id="interval-below-the-shortest"),
        pytest.param(-30, 60, SHORTEST_INTERVAL, id="clock-behind-the-service"),
    ],
)
def test_young_job_is_asked_about_more_often(age: float, poll_interval: float, pause: float) -> None:
    one = wait(WaitPolicy(poll_interval=poll_interval))
    assert seconds_of(one.answered(job("PENDING", created=age / 3600), NOW)) == about(pause)


@pytest.mark.parametrize(
    ("poll_interval", "pauses"),
    [
        pytest.param(60, [60, 120, 240, LONGEST_BACKOFF, LONGEST_BACKOFF], id="doubles-up-to-the-longest"),
        pytest.param(10, [10, 20, 40, 80, 160, LONGEST_BACKOFF], id="short-interval"),
        pytest.param(900, [900, 900, 900], id="long-interval-is-kept"),
    ],
)
@pytest.mark.parametrize("transient", [True, False])
def test_errors_in_a_row_are_reasons_to_ask_later_and_later(
    poll_interval: float, pauses: list[float], transient: bool
) -> None:
    one = wait(WaitPolicy(poll_interval=poll_interval))
    found = [seconds_of(one.failed(OSError("no route"), transient=transient, now=NOW)) for _ in pauses]
    assert found == [about(pause) for pause in pauses]


def test_answer_ends_the_backoff() -> None:
    one = wait()
    for _ in range(5):
        one.failed(OSError("no route"), transient=True, now=NOW)
    one.answered(job("RUNNING", created=1, started=1), NOW)
    assert seconds_of(one.failed(OSError("no route"), transient=True, now=NOW)) == about(60)


def test_backoff_survives_thousands_of_errors() -> None:
    one = wait(WaitPolicy(poll_interval=0.001))
    pauses = [seconds_of(one.failed(OSError(), transient=True, now=NOW)) for _ in range(3000)]
    assert pauses[-1] == about(LONGEST_BACKOFF)


def test_pauses_differ() -> None:
    pauses = {seconds_of(wait().answered(job("RUNNING", created=1, started=1), NOW)) for _ in range(20)}
    assert len(pauses) > 1


def test_refusals_are_borne_for_a_while_then_the_job_is_lost() -> None:
    one = wait()
    for seconds in (0, 300, REFUSALS - 1):
        seconds_of(one.failed(PermissionError("403"), transient=False, now=after(seconds)))
    assert one.failed(PermissionError("403 no"), transient=False, now=after(REFUSALS)) == WaitOver(
        WaitOutcome.LOST, "the service has refused to return its state for 15 minutes: 403 no"
    )


@pytest.mark.parametrize("between", ["answer", "transient error"])
def test_patience_with_refusals_starts_anew(between: str) -> None:
    one = wait()
    one.failed(PermissionError("403"), transient=False, now=NOW)
    if between == "answer":
        one.answered(job("RUNNING", created=1, started=1), after(600))
    else:
        one.failed(TimeoutError(), transient=True, now=after(600))
    seconds_of(one.failed(PermissionError("403"), transient=False, now=after(REFUSALS)))
    late = one.failed(PermissionError("403"), transient=False, now=after(2 * REFUSALS))
    assert isinstance(late, WaitOver)


@pytest.mark.parametrize("transient", [True, False])
def test_silence_is_borne_until_it_is_time_to_give_up(transient: bool) -> None:
    one = wait()
    seconds_of(one.failed(TimeoutError("no route"), transient=transient, now=after(POLICY.longest - 1)))
    over = one.failed(TimeoutError("no route"), transient=transient, now=after(POLICY.longest))
    assert isinstance(over, WaitOver)
    assert over.outcome is WaitOutcome.LOST  # never a reason to cancel a job
    assert over.reason.endswith("no route")


def test_transient_errors_never_lose_a_job() -> None:
    one = wait()
    for seconds in range(0, int(POLICY.longest), 600):
        seconds_of(one.failed(TimeoutError(), transient=True, now=after(seconds)))


def test_outcomes_travel_as_plain_text() -> None:
    assert [str(outcome) for outcome in WaitOutcome] == ["ended", "timed_out", "lost"]


def test_now_is_aware() -> None:
    assert utc_now().utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("asked_about", "warned", "ends"),
    [
        pytest.param(job("PENDING", created=1), 6.5, 9, id="queued"),
        pytest.param(job("PENDING", created=8), 0, 2, id="queued-for-long"),
        pytest.param(job("RUNNING", created=9, started=1), 2.75, 4, id="running"),
        pytest.param(job("RUNNING", created=9), 2.25, 6, id="no-start-known"),
        pytest.param(job("RUNNING", started=-20), None, 15, id="never-later-than-the-end-of-patience"),
        pytest.param(job("RUNNING"), None, 15, id="no-times"),
    ],
)
def test_unchanged_job_is_warned_of_once_and_given_up_when_its_limit_ends(
    monkeypatch: pytest.MonkeyPatch, asked_about: BatchJob, warned: float | None, ends: float
) -> None:
    one, log, now = wait(), Mock(), NOW
    monkeypatch.setattr(polling, "utc_now", lambda: now)
    warnings: dict[datetime, str] = {}
    log.warning = lambda _format, text: warnings.__setitem__(now, text)
    while isinstance(one.take(asked_about, log), AskAgain):
        assert one.decide_by(asked_about) > now
        now = one.decide_by(asked_about)
    assert now == after(ends * 3600)
    assert list(warnings) == ([] if warned is None else [after(warned * 3600)])


@pytest.mark.parametrize(
    ("asked_about", "told"),
    [
        (
            job("PENDING", created=8),
            "Job 42 has been waiting to start since 2025-06-01 04:00 UTC, more than 75% of the limit (queue_timeout, "
            "10 h). At 2025-06-01 14:00 UTC it is no longer waited for, and on_timeout says whether it is cancelled",
        ),
        (job("RUNNING", created=20, started=4.5), "Job 42 has been running since 2025-06-01 07:30 UTC"),
    ],
)
def test_warning_says_which_limit_and_what_comes(
    monkeypatch: pytest.MonkeyPatch, asked_about: BatchJob, told: str
) -> None:
    log = Mock()
    monkeypatch.setattr(polling, "utc_now", lambda: NOW)
    wait().take(asked_about, log)
    ((_format, text),) = [call.args for call in log.warning.call_args_list]
    assert text.startswith(told)


def test_each_limit_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    one, log = wait(), Mock()
    monkeypatch.setattr(polling, "utc_now", lambda: NOW)
    for update in (
        job("PENDING", created=8),
        job("RUNNING", created=8, started=4),
        job("PENDING", created=9),
    ):
        one.take(update, log)
    assert log.warning.call_count == 2


def counts(state: str, done: int | None = None, failed: int | None = None) -> BatchJob:
    return replace(job(state, created=1, started=1), successful_count=done, failed_count=failed)


@pytest.mark.parametrize(
    ("first", "then", "minutes", "logged"),
    [
        pytest.param(counts("RUNNING"), counts("RUNNING"), 59, False, id="nothing-new"),
        pytest.param(counts("RUNNING"), counts("RUNNING"), 60, True, id="an-hour-later"),
        pytest.param(counts("PENDING"), counts("RUNNING"), 1, True, id="state"),
        pytest.param(counts("RUNNING", 5, 0), counts("RUNNING", 6, 0), 1, True, id="answers"),
        pytest.param(counts("RUNNING", 5, 0), counts("RUNNING", 5, 1), 1, True, id="failures"),
        pytest.param(counts("RUNNING", 5, 0), counts("RUNNING", 5, 0), 1, False, id="same-counts"),
    ],
)
def test_wait_logs_what_changes_and_once_an_hour_that_nothing_does(
    monkeypatch: pytest.MonkeyPatch, first: BatchJob, then: BatchJob, minutes: int, logged: bool
) -> None:
    one, log, now = wait(), Mock(), NOW
    monkeypatch.setattr(polling, "utc_now", lambda: now)
    one.take(first, log)
    assert one.decide_by(first) <= NOW + timedelta(hours=1)
    now = NOW + timedelta(minutes=minutes)
    one.take(then, log)
    assert log.info.call_count == 1 + logged


def test_job_that_has_ended_before_it_is_waited_for_is_not_logged() -> None:
    one, log = wait(), Mock()
    assert one.take(counts("SUCCEEDED"), log) == WaitOver(WaitOutcome.ENDED)
    assert not log.info.called


@pytest.mark.parametrize(
    ("waiting", "text"),
    [
        (job("PENDING", created=3), "Job 42 is PENDING, 3 h after its creation"),
        (job("PENDING"), "Job 42 is PENDING"),
        (job("RUNNING", created=3, started=0.5), "Job 42 is RUNNING, 30 min after its start"),
        (counts("RUNNING", 1500, 0), "Job 42 is RUNNING, 60 min after its start: 1,500 rows done"),
        (
            replace(counts("SUCCEEDED", 1500, 3), end_time=hours_ago(0.9)),
            "Job 42 is SUCCEEDED, 6 min after its start: 1,503 rows done, 3 of them failed",
        ),
    ],
)
def test_line_about_a_waiting_job_says_how_far_it_is(waiting: BatchJob, text: str) -> None:
    assert progress_text(waiting, NOW) == text
