from __future__ import annotations

import logging

import pytest

from airflow_gemini_batch.core.progress import NEWS_EVERY, Progress, is_due, shown_size


@pytest.mark.parametrize(("elapsed", "due"), [(0.0, False), (29.9, False), (30.0, True), (3600.0, True)])
def test_log_tells_every_half_minute(elapsed: float, due: bool) -> None:
    assert is_due(elapsed) is due


def test_size_is_shown_in_megabytes() -> None:
    assert [shown_size(size) for size in (0, 1_499_999, 7_200_000_000)] == ["0 MB", "1 MB", "7,200 MB"]


def test_quick_work_is_silent_and_long_work_tells_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    with caplog.at_level(logging.INFO):
        progress = Progress(logging.getLogger("progress"), "building requests", clock=lambda: now[0])
        for step in range(10):
            now[0] += NEWS_EVERY / 4
            progress.tell((step + 1) * 1_000_000, (step + 1) * 700_000_000)
    assert caplog.messages == [
        "building requests: 4,000,000 rows, 2,800 MB so far",
        "building requests: 8,000,000 rows, 5,600 MB so far",
    ]
