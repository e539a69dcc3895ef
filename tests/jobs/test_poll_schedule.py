from __future__ import annotations

import math
from typing import Any

import pytest

from airflow_gemini_batch.jobs.poll_schedule import (
    CALLS_PER_PAGE,
    FIRST_PAUSE,
    PollTimer,
    created_between,
    due_at,
    pages_worth,
)

NOW = 1000.0
WALL = 1_764_547_200.0  # 2025-12-01 00:00 UTC


def timer(*, age: float = 0.0, poll_interval: float = 60.0, notify_by: float = math.inf) -> PollTimer:
    made = PollTimer(poll_interval, WALL - age)
    made.notify_by = notify_by
    return made


@pytest.mark.parametrize(("poll_interval", "longest"), [(60.0, FIRST_PAUSE), (0.1, 0.1)])
def test_first_turn_comes_soon_but_not_for_all_at_once(poll_interval: float, longest: float) -> None:
    dues = set()
    for _ in range(50):
        new = timer(poll_interval=poll_interval)
        new.begin(NOW)
        assert longest / 2 <= new.due - NOW <= longest
        dues.add(new.due)
    assert len(dues) > 10


def test_new_job_goes_along_with_the_first_round() -> None:
    new = timer()
    new.begin(NOW)
    assert due_at([new], NOW) == {new}


@pytest.mark.parametrize(("later", "goes"), [(44, False), (46, True), (60, True), (100, True)])
def test_job_near_its_turn_goes_along_with_others(later: float, goes: bool) -> None:
    one = timer()
    one.pause(NOW, 60)
    assert one.due == NOW + 60
    assert due_at([one], NOW + later) == ({one} if goes else set())


def test_suspended_job_has_no_turn() -> None:
    one = timer()
    one.begin(NOW)
    one.suspend()
    assert due_at([one], NOW + 1e9) == set()


RUNNING = ("RUNNING", "2025-11-30T23:00:00Z")


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        pytest.param(None, RUNNING, True, id="first-answer"),
        pytest.param(RUNNING, RUNNING, False, id="same"),
        pytest.param(RUNNING, ("SUCCEEDED", RUNNING[1]), True, id="another"),
        pytest.param((None, None), (None, None), False, id="nothing-at-all"),
    ],
)
def test_waiter_hears_of_a_change(before: Any, after: Any, changed: bool) -> None:
    one = timer()
    if before is not None:
        one.changed(before, WALL)
    assert one.changed(after, WALL) is changed


def test_same_answer_is_news_when_its_waiter_has_to_decide() -> None:
    one = timer(notify_by=WALL + 10)
    one.changed(RUNNING, WALL)
    assert not one.changed(RUNNING, WALL + 9)
    assert one.changed(RUNNING, WALL + 10)


def test_answer_after_an_error_is_news() -> None:
    one = timer()
    one.changed(RUNNING, WALL)
    one.forget()
    assert one.changed(RUNNING, WALL)


@pytest.mark.parametrize(
    ("age", "notify_by", "pause"),
    [
        pytest.param(0, math.inf, 5.0, id="new"),
        pytest.param(200, math.inf, 20.0, id="a-tenth-of-its-age"),
        pytest.param(9000, math.inf, 60.0, id="old"),
        pytest.param(9000, WALL + 7, 7.0, id="decision-due-earlier"),
    ],
)
def test_unchanged_job_is_asked_about_by_its_age(age: float, notify_by: float, pause: float) -> None:
    one = timer(age=age, notify_by=notify_by)
    one.reschedule(NOW, WALL, 1.0)
    assert one.due == NOW + pause


def test_pause_after_a_list_varies_as_its_factor() -> None:
    one = timer(age=9000)
    one.reschedule(NOW, WALL, 1.1)
    assert one.due == pytest.approx(NOW + 66)


def test_few_jobs_are_not_worth_a_page() -> None:
    assert pages_worth(CALLS_PER_PAGE - 1) == 0
    assert pages_worth(CALLS_PER_PAGE) == 1
    assert pages_worth(10_000) == 2500


def test_creation_times_of_all_jobs_and_a_minute_around() -> None:
    oldest, newest = created_between([timer(age=3600), timer(age=0), timer(age=60)])
    assert (oldest.timestamp(), newest.timestamp()) == (WALL - 3660, WALL + 60)
